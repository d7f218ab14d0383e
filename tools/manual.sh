#!/bin/sh
# Makes the man page and the completion for bash, zsh and fish from what the program says of its commands and options.
# Usage: tools/manual.sh TALLY FOLDER
set -eu
tally=$1 folder=$2
here=$(dirname "$0")
table=$folder/commands.txt tab=$(printf '\t')

# lines of fields with tabs between them: "version", "exit LINE", "command NAME ABOUT", "verb NAME WORD", "usage NAME LINE", "about NAME LINE",
# "option NAME" with the fields of `tally NAME --options`. NAME is "tokenizer train" if that has options of its own.
describe() { # NAME
    "$tally" $1 --options >"$table.options"
    group=$(sed -n 1p "$table.options" | cut -f 8)
    "$tally" $1 --help | awk -v name="$1" -v group="$group" '
        BEGIN { part = "usage" }
        $0 == group && group != "" { part = "options" }
        part == "options" { next }
        part == "usage" && $0 == "" { part = "about"; next }
        { sub(/^usage: |^       /, ""); print part "\t" name "\t" $0 }'
    sed "s/^/option$tab$1$tab/" "$table.options"
}
# the words that may follow a command: a and b for "usage: tally NAME a|b [options]", or for a usage of each
verbs() { "$tally" "$1" --help | sed -nE "s/^(usage: |       )tally $1 ([a-z]+(\|[a-z]+)*)( .*)?\$/\2/p" | tr '|' '\n' | awk '!seen[$0]++'; }
{
    "$tally" --version | sed -n "1s/^tally /version$tab/p"
    "$tally" --help | sed -n "/^Exit status/,\$s/^/exit$tab/p"
    "$tally" --options >"$table.names"
    while IFS="$tab" read -r name about; do
        printf 'command\t%s\t%s\n' "$name" "$about"
        own=""
        for verb in $(verbs "$name"); do
            printf 'verb\t%s\t%s\n' "$name" "$verb"
            if "$tally" "$name" "$verb" --options >"$table.options" 2>/dev/null; then own="$own $verb"; fi
        done
        if [ -z "$own" ]; then describe "$name"; fi
        for verb in $own; do describe "$name $verb"; done
    done <"$table.names"
} >"$table"

awk -f "$here/manual.awk" "$table" >"$folder/tally.1"
for shell in bash zsh fish; do awk -v shell=$shell -f "$here/completion.awk" "$table" >"$folder/tally.$shell"; done
