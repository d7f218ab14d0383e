# The man page, in roff, from the table of tools/manual.sh.
BEGIN { FS = "\t" }

function roff(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/'/, "\\(aq", text)
    gsub(/`/, "\\(ga", text)
    return text ~ /^\./ ? "\\&" text : text
}
# "PATH|NAME" in italics
function argument(text) { return "\\fI" roff(text) "\\fR" }
function shape(name, type, what) {
    if (type == "flag") return "\\fB" roff("--" name) "\\fR, \\fB" roff("--no-" name) "\\fR"
    if (type == "choice") return "\\fB" roff("--" name) "\\fR " roff(what)
    return "\\fB" roff("--" name) "\\fR " argument(what) (type == "list" ? "..." : "")
}
# indented lines are kept as they are; an empty line ends a paragraph
function about(text) {
    if (text == "") { ended = 1; return }
    if ((text ~ /^ /) != literal) print literal ? ".fi\n.PP" : ".PP\n.nf"
    else if (ended) print literal ? "" : ".PP"
    literal = text ~ /^ /; ended = 0
    print roff(text)
}
function end_about() { if (literal) print ".fi"; literal = ended = 0 }

$1 == "version" { version = $2 }
$1 == "command" { commands[++count] = $2; whats[$2] = $3 }
# a command, or each of its words that has options of its own, is a section
$1 == "usage" && !($2 in usage) { sections[++section_count] = $2 }
$1 == "usage" { usage[$2] = usage[$2] (usage[$2] == "" ? "" : "\n.br\n") roff($3) }
$1 == "about" { abouts[$2, ++lines[$2]] = $3 }
$1 == "option" { options[$2, ++rows[$2]] = $0 }
$1 == "exit" { exits = exits roff($2) "\n" }

END {
    print ".\\\" made by tools/manual.sh from the program's option tables"
    print ".TH TALLY 1 \"\" \"tally " roff(version) "\" \"User Commands\""
    print ".ad l\n.nh"
    print ".SH NAME\ntally \\- train transformer language models and report what every step costs"
    print ".SH SYNOPSIS"
    for (c = 1; c <= section_count; c++) print (c > 1 ? ".br\n" : "") usage[sections[c]]
    print ".SH COMMANDS"
    for (c = 1; c <= count; c++) print ".TP\n.B " commands[c] "\n" roff(whats[commands[c]])
    for (c = 1; c <= section_count; c++) {
        name = sections[c]
        print ".SH " toupper("tally " name) "\n" usage[name] "\n.PP"
        for (i = 1; i <= lines[name]; i++) about(abouts[name, i])
        end_about()
        group = ""
        for (i = 1; i <= rows[name]; i++) {
            split(options[name, i], f, "\t") # 3 name, 4 type, 5 argument, 6 default, 7 8 limits, 9 key, 10 group, 11 help
            if (f[10] != group) print ".SS " roff(group = f[10])
            if (f[3] == "help") print ".TP\n\\fB\\-\\-help\\fR, \\fB\\-h\\fR"
            else if (f[4] == "flag" && f[9] == "") print ".TP\n\\fB" roff("--" f[3]) "\\fR"
            else print ".TP\n" shape(f[3], f[4], f[5])
            print roff(f[11] (f[6] == "" ? "" : " (default " f[6] ")"))
        }
    }
    sub(/^Exit status: /, "", exits)
    printf ".SH EXIT STATUS\n%s", exits
}
