# Completion for the shell named by -v shell=bash|zsh|fish, from the table of tools/manual.sh.
BEGIN { FS = "\t" }
$1 == "command" { commands[++count] = $2; whats[$2] = $3 }
$1 == "verb" { verbs[$2] = verbs[$2] (verbs[$2] == "" ? "" : " ") $3 }
$1 == "option" {
    # a section: a command, or a command and its second word
    if (!($2 in rows)) { sections[++section_count] = $2; if (split($2, w, " ") == 2) nested[w[1]] = 1 }
    n = $2; i = ++rows[n]
    name[n, i] = $3; type[n, i] = $4; argument[n, i] = $5; help[n, i] = short($11)
    negated[n, i] = $4 == "flag" && $9 != ""
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
    print "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=\"\""
    print "    COMPREPLY=()"
    print "    if [ \"$word\" = = ]; then word=\"\"; fi"
    print "    if [ \"$before\" = = ]; then before=${COMP_WORDS[COMP_CWORD - 2]}; fi"
    print "    case $COMP_CWORD:$command in"
    for (c = 1; c <= count; c++) all = all commands[c] " "
    print "    1:*) words=\"" all "--help --options --version\" ;;"
    for (c = 1; c <= count; c++) if (commands[c] in verbs) print "    2:" commands[c] ") words=\"" verbs[commands[c]] "\" ;;"
    print "    esac"
    for (n in nested) print "    if [ \"$command\" = " n " ]; then command=\"" n " ${COMP_WORDS[2]}\"; fi"
    print "    case $command:$before in" # the value of an option
    for (c = 1; c <= section_count; c++) {
        n = sections[c]
        for (i = 1; i <= rows[n]; i++) {
            if (type[n, i] == "flag" || is_file(argument[n, i])) continue
            if (type[n, i] == "choice") print "    \"" n ":--" name[n, i] "\") words=\"" choices(argument[n, i]) "\" ;;"
            else free = free (free == "" ? "" : " | ") "\"" n ":--" name[n, i] "\""
        }
    }
    if (free != "") print "    " free ") compopt +o default; return ;;" # a number or a word that only the user knows
    print "    esac"
    print "    case $command:$word in"
    for (c = 1; c <= section_count; c++) {
        printf "    \"%s:-\"*) words=\"", n = sections[c]
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
function colons(text) { gsub(/:/, "\\:", text); return text }
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
    print "    local section=$words[2]"
    print "    shift words"
    print "    ((CURRENT--))"
    for (n in nested) {
        print "    if [[ $section == " n " ]]; then"
        print "        if ((CURRENT == 2)); then _values word " verbs[n] "; return; fi"
        print "        section=\"" n " $words[2]\""
        print "        shift words"
        print "        ((CURRENT--))"
        print "    fi"
    }
    print "    case $section in"
    for (c = 1; c <= section_count; c++) {
        n = sections[c]
        print "    " quoted(n) ")"
        print "        _arguments \\"
        for (i = 1; i <= rows[n]; i++) {
            action = type[n, i] == "choice" ? "(" choices(argument[n, i]) ")" : is_file(argument[n, i]) ? "_files" : " "
            if (type[n, i] == "flag") print "            " quoted("--" name[n, i] bracketed(help[n, i])) " \\"
            else print "            " quoted((type[n, i] == "list" ? "*" : "") "--" name[n, i] "=" bracketed(help[n, i]) ":" colons(argument[n, i]) ":" action) " \\"
            if (negated[n, i]) print "            " quoted("--no-" name[n, i] bracketed("off: " help[n, i])) " \\"
        }
        if (n in verbs) print "            " quoted("1:word:(" verbs[n] ")") " \\"
        print "            '*:file:_files' ;;"
    }
    print "    esac"
    print "}"
    print "_tally \"$@\""
}

function fish_quoted(text) { gsub(/[\\']/, "\\\\&", text); return "'" text "'" }
function fish(    c, i, n, line) {
    print "# fish completion of tally, made by tools/manual.sh"
    print "function __tally_words # how many words are in front of the cursor"
    print "    test (count (commandline -opc)) -eq $argv[1]"
    print "end"
    print "function __tally_section # the first words after tally"
    print "    set -l words (commandline -opc)"
    print "    string match -q -- \"$argv *\" \"$words[2..-1] \""
    print "end"
    for (c = 1; c <= count; c++) {
        n = commands[c]
        print "complete -c tally -n '__tally_words 1' -f -a " n " -d " fish_quoted(whats[n])
        if (n in verbs) print "complete -c tally -n '__tally_words 2; and __tally_section " n "' -f -a " fish_quoted(verbs[n])
    }
    print "complete -c tally -n '__tally_words 1' -l version -d 'print the version'"
    for (c = 1; c <= section_count; c++) {
        n = sections[c]
        line = "complete -c tally -n '__tally_section " n "' "
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
