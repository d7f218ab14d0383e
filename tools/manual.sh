#!/bin/sh
# Makes the man page and the completion for bash, zsh and fish from what the program says of its commands and options.
# Usage: tools/manual.sh TALLY FOLDER
set -eu
tally=$1 folder=$2
here=$(dirname "$0")
table=$folder/commands.txt tab=$(printf '\t')

# lines of fields with tabs between them: "version", "command NAME ABOUT", "usage NAME LINE", "about NAME LINE",
# "option NAME" with the fields of `tally NAME --options`, "exit LINE"
{
    "$tally" --version | sed -n "1s/^tally /version$tab/p"
    "$tally" --help | sed -n "/^Exit status/,\$s/^/exit$tab/p"
    "$tally" --options >"$table.names"
    sed "s/^/command$tab/" "$table.names"
    while IFS="$tab" read -r name about; do
        "$tally" "$name" --options >"$table.options"
        group=$(sed -n 1p "$table.options" | cut -f 8)
        "$tally" "$name" --help | awk -v name="$name" -v group="$group" '
            BEGIN { part = "usage" }
            $0 == group { part = "options" }
            part == "options" { next }
            part == "usage" && $0 == "" { part = "about"; next }
            { sub(/^usage: |^       /, ""); print part "\t" name "\t" $0 }'
        sed "s/^/option$tab$name$tab/" "$table.options"
    done <"$table.names"
} >"$table"

awk -f "$here/manual.awk" "$table" >"$folder/tally.1"
for shell in bash zsh fish; do awk -v shell=$shell -f "$here/completion.awk" "$table" >"$folder/tally.$shell"; done
