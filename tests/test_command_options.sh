# The tables of options that `tally COMMAND --options` prints, which are also the help, the keys of --config and the defaults.
cd "$(dirname "$0")/.." && . tests/tap.sh

commands=$("$tally" --help | sed -nE 's/^  ([a-z]+) .*/\1/p')
[ "$(echo "$commands" | wc -l)" -ge 7 ]; ok "--help lists the commands"
for command in $commands; do "$tally" "$command" --options | sed "s/^/$command\t/"; done >"$scratch/table"

# fields: 1 command 2 name 3 type 4 argument or choices 5 default 6 minimum 7 maximum 8 key 9 group 10 help
check() { awk -F'\t' "$1 { print; bad = 1 } END { exit bad }" "$scratch/table" >"$scratch/out"; }
check 'NF != 10'; ok "every line of --options has all fields"
check '$3 != "flag" && $4 == ""'; ok "every option that takes an argument names it"
check '{ key = $2; gsub("-", "_", key) } $8 != "" && $8 != key'; ok "keys are the names of the options, with _ in place of -"
check 'split($10, words, " ") < 3'; ok "no help text is shorter than three words"
check '$4 ~ /,\.\.\.$/ { next } seen[$2] == "" { seen[$2] = $3 } seen[$2] != $3'; ok "an option has the same type in every command, except the lists of plan"
check '$3 != "choice" { next } seen[$2] == "" { seen[$2] = $4 } seen[$2] != $4'; ok "an option has the same choices in every command"
for command in $commands; do
    "$tally" "$command" --help >"$scratch/out" 2>"$scratch/err" && [ ! -s "$scratch/err" ] &&
        [ "$(grep -cE '^  --' "$scratch/out")" -eq "$(grep -c "^$command"$'\t' "$scratch/table")" ] &&
        ! awk 'length($0) > 112' "$scratch/out" | grep -q .
    ok "tally $command --help shows every option, in lines of at most 112 columns"
done
finish
