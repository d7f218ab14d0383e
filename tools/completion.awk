# Completion for the shell named by -v shell=bash|zsh|fish, from the table of tools/manual.sh.
BEGIN { FS = "\t" }
$1 == "command" { commands[++count] = $2; whats[$2] = $3 }
# "tally bench step|shard [options]": the words that may follow the command
$1 == "usage" { split($3, w, " "); if (w[3] ~ /^[a-z]+(\|[a-z]+)+$/) { gsub(/\|/, " ", w[3]); words[$2] = w[3] } }
$1 == "option" {
    c = $2; i = ++rows[c]
    name[c, i] = $3; type[c, i] = $4; argument[c, i] = $5; default_of[c, i] = $6; help[c, i] = short($11)
    negated[c, i] = $4 == "flag" && $9 != ""
}

# up to the end of its first clause; "GPU: " and "with --schedule wsd: " are only conditions
function short(text,    n) {
    sub(/[;.] .*/, "", text)
    n = index(text, ": ")
    return n && split(substr(text, 1, n), w, " ") > 3 ? substr(text, 1, n - 1) : text
}
function choices(text) { gsub(/\|/, " ", text); return text }
function is_file(text) { return text ~ /PATH|FILE|FOLDER|DIR|RUN/ }
function quoted(text) { gsub(/'/, "'\\''", text); return "'" text "'" }

function bash(    c, i, n, all, free) {
    print "# bash completion of tally, made by tools/manual.sh"
    print "_tally() {"
    print "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=\"\""
    print "    COMPREPLY=()"
    print "    if [ \"$word\" = = ]; then word=\"\"; fi"
    print "    if [ \"$before\" = = ]; then before=${COMP_WORDS[COMP_CWORD - 2]}; fi"
    print "    case $COMP_CWORD:${COMP_WORDS[1]} in"
    for (c = 1; c <= count; c++) all = all commands[c] " "
    print "    1:*) words=\"" all "--help --options --version\" ;;"
    for (c = 1; c <= count; c++) if (commands[c] in words) print "    2:" commands[c] ") words=\"" words[commands[c]] "\" ;;"
    print "    esac"
    print "    case ${COMP_WORDS[1]}:$before in" # the value of an option
    for (c = 1; c <= count; c++) {
        n = commands[c]
        for (i = 1; i <= rows[n]; i++) {
            if (type[n, i] == "flag" || is_file(argument[n, i])) continue
            if (type[n, i] == "choice") print "    " n ":--" name[n, i] ") words=\"" choices(argument[n, i]) "\" ;;"
            else free = free (free == "" ? "" : " | ") n ":--" name[n, i]
        }
    }
    if (free != "") print "    " free ") compopt +o default; return ;;" # a number or a word that only the user knows
    print "    esac"
    print "    case ${COMP_WORDS[1]}:$word in"
    for (c = 1; c <= count; c++) {
        printf "    %s:-*) words=\"", n = commands[c]
        for (i = 1; i <= rows[n]; i++) printf "%s--%s%s", (i > 1 ? " " : ""), name[n, i], (negated[n, i] ? " --no-" name[n, i] : "")
        print "\" ;;"
    }
    print "    esac"
    print "    if [ -n \"$words\" ]; then COMPREPLY=($(compgen -W \"$words\" -- \"$word\")); fi" # else a file, by -o default
    print "}"
    print "complete -o default -F _tally tally"
}

# the text of a description in brackets
function bracketed(text) { gsub(/[][\\:]/, "\\\\&", text); return "[" text "]" }
function zsh(    c, i, n, action) {
    print "#compdef tally"
    print "# zsh completion of tally, made by tools/manual.sh"
    print "_tally() {"
    print "    local -a commands=("
    for (c = 1; c <= count; c++) print "        " quoted(commands[c] ":" whats[commands[c]])
    print "    )"
    print "    if ((CURRENT == 2)); then"
    print "        _describe command commands"
    print "        _values option --help --options --version"
    print "        return"
    print "    fi"
    print "    shift words"
    print "    ((CURRENT--))"
    print "    case $words[1] in"
    for (c = 1; c <= count; c++) {
        n = commands[c]
        print "    " n ")"
        print "        _arguments \\"
        for (i = 1; i <= rows[n]; i++) {
            action = type[n, i] == "choice" ? "(" choices(argument[n, i]) ")" : is_file(argument[n, i]) ? "_files" : " "
            if (type[n, i] == "flag") print "            " quoted("--" name[n, i] bracketed(help[n, i])) " \\"
            else print "            " quoted((type[n, i] == "list" ? "*" : "") "--" name[n, i] "=" bracketed(help[n, i]) ":" argument[n, i] ":" action) " \\"
            if (negated[n, i]) print "            " quoted("--no-" name[n, i] bracketed("off: " help[n, i])) " \\"
        }
        if (n in words) print "            " quoted("1:word:(" words[n] ")") " \\"
        print "            '*:file:_files' ;;"
    }
    print "    esac"
    print "}"
    print "_tally \"$@\""
}

function fish_quoted(text) { gsub(/[\\']/, "\\\\&", text); return "'" text "'" }
function fish(    c, i, n, line) {
    print "# fish completion of tally, made by tools/manual.sh"
    print "function __tally_command"
    print "    set -l words (commandline -opc)"
    print "    test (count $words) -ge 2; and test $words[2] = $argv[1]"
    print "end"
    for (c = 1; c <= count; c++)
        print "complete -c tally -n 'test (count (commandline -opc)) -eq 1' -f -a " commands[c] " -d " fish_quoted(whats[commands[c]])
    print "complete -c tally -n 'test (count (commandline -opc)) -eq 1' -l version -d 'print the version'"
    for (c = 1; c <= count; c++) {
        n = commands[c]
        line = "complete -c tally -n '__tally_command " n "' "
        if (n in words)
            print "complete -c tally -n '__tally_command " n "; and test (count (commandline -opc)) -eq 2' -f -a " fish_quoted(words[n])
        for (i = 1; i <= rows[n]; i++) {
            printf "%s-l %s -d %s", line, name[n, i], fish_quoted(help[n, i])
            if (type[n, i] == "choice") printf " -x -a %s", fish_quoted(choices(argument[n, i]))
            else if (type[n, i] != "flag") printf " %s", (is_file(argument[n, i]) ? "-r -F" : "-x")
            print ""
            if (negated[n, i]) print line "-l no-" name[n, i] " -d " fish_quoted("off: " help[n, i])
        }
    }
}
END { if (shell == "bash") bash(); else if (shell == "zsh") zsh(); else fish() }
