# Looks at reports in a headless Chromium, with real pointer and key events. Prints a TAP-like line per check: "ok NAME" or
# "not ok NAME". Usage: report_browser.py CHROMIUM ONE.html METRICS.jsonl SEVERAL.html LONG.html LONG_METRICS.jsonl EMPTY.html
# FOLDER_FOR_PICTURES
import json, re, struct, sys, zlib
from browser import Browser

program, one, metrics, several, long, long_metrics, empty, pictures = sys.argv[1:]


def read(path):
    return [json.loads(line) for line in open(path) if '"event"' not in line]


steps = read(metrics)
b = Browser(program)


def check(name, fine, found=""):
    print(("ok " if fine else "not ok ") + name + ("" if fine else f": {found}"))


# the centre of the first chart, and the tooltip's rows after the pointer is at a step
def box(chart=0):
    return b.value(f"(() => {{ const s = document.querySelector('figure[data-chart=\"{chart}\"] svg.chart');"
                   "s.scrollIntoView({block: 'center', behavior: 'instant'}); const r = s.getBoundingClientRect(); return [r.left, r.top, r.width, r.height] })()")


def place(fraction, chart=0):
    left, top, width, height = box(chart)
    return left + 60 + fraction * (width - 60 - 14), top + height / 2


def rows():
    return b.value("[...document.querySelectorAll('.tip > div')].map(row => row.innerText.replace(/\\s+/g, ' ').trim())")


def axis_ticks():
    return b.value("[...document.querySelectorAll('figure[data-chart=\"0\"] svg.chart text[text-anchor=middle]')].map(t => t.textContent)")


# a PNG's size, and how many different bytes its pixels have: a blank page has few
def png(path):
    data, at, body = open(path, "rb").read(), 8, b""
    width, height = struct.unpack(">II", data[16:24])
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IDAT":
            body += data[at + 8:at + 8 + size]
        at += 12 + size
    return width, height, len(set(zlib.decompress(body)))


b.size(1100, 900)
b.media("light")
b.open(one)
b.settle()
check("the page makes no console message, no exception and no request", b.complaints() == [], b.complaints())
check("nothing from a file became markup", b.value("window.hacked === undefined && document.querySelectorAll('script').length === 2 && !document.querySelector('pre *, h1 *, .options td *')"))
check("every chart with a line can be reached by keyboard", b.value("[...document.querySelectorAll('figure svg.chart')].every(s => s.tabIndex === 0)"))

# the value under the pointer is that of metrics.jsonl
first, end = steps[0]["step"], steps[-1]["step"]
wrong = []
for step in steps[3::max(1, len(steps) // 7)]:
    b.mouse("mouseMoved", *place((step["step"] - first) / (end - first)))
    shown = rows()
    if shown[0] != f"step {step['step']:,}" or not re.fullmatch(r"training [0-9.]+", shown[1]) or abs(float(shown[1].split()[1]) - step["loss"]) > 5e-5 * step["loss"]:
        wrong.append((step["step"], step["loss"], shown))
check("the pointer shows the loss of the step under it", not wrong and b.value("document.querySelectorAll('.tip').length") == 1, wrong)
known = [s for s in steps if s.get("val_loss") is not None]
near = min(known, key=lambda s: abs(s["step"] - step["step"]))
check("and the nearest held-out loss, with its step", f"held out, step {near['step']} {near['val_loss']:.5g}" in rows() and near is not step, (near, rows()))
b.screenshot(pictures + "/hover.png", whole=False)
b.mouse("mouseMoved", 5, 5)
check("the values go when the pointer leaves", rows() == [], rows())

# drag: the x axis then covers what was dragged over
before = axis_ticks()
b.mouse("mouseMoved", *place(0.25))
b.mouse("mousePressed", *place(0.25), buttons=1, count=1)
b.mouse("mouseMoved", *place(0.4), buttons=1)
b.mouse("mouseMoved", *place(0.5), buttons=1)
b.mouse("mouseReleased", *place(0.5), count=1)
b.mouse("mouseMoved", *place(0.0))
left = int(rows()[0].split()[-1].replace(",", ""))
b.mouse("mouseMoved", *place(1.0))
right = int(rows()[0].split()[-1].replace(",", ""))
span = end - first
check("dragging zooms to that part of the run, in all charts", abs(left - first - 0.25 * span) <= 2 and abs(right - first - 0.5 * span) <= 2 and axis_ticks() != before, (left, right))
b.screenshot(pictures + "/zoom.png", whole=False)
b.value("[...document.querySelectorAll('.controls button')].find(x => x.textContent === 'Whole run').click()")
check("the button shows the whole run again", axis_ticks() == before, axis_ticks())

# keys
b.mouse("mouseMoved", 5, 5)
b.value("document.querySelector('figure svg.chart').focus()")
b.key("Home"), b.key("ArrowRight"), b.key("ArrowRight")
spoken = b.value("document.querySelector('[aria-live]').textContent")
check("arrow keys move through the steps, and the value is announced", rows()[:1] == [f"step {steps[2]['step']:,}"] and f"step {steps[2]['step']:,}" in spoken, (rows(), spoken))
b.key("+", "+")
check("+ zooms in", axis_ticks() != before, axis_ticks())
b.key("Escape")
check("Escape shows the whole run", axis_ticks() == before, axis_ticks())
for _ in range(70):  # 2^70 is more than a double can divide a step into
    b.key("+", "+")
deep = axis_ticks()
b.key("Escape")
check("+ held down stops at a narrow range, and Escape leads back", len(set(deep)) > 2 and axis_ticks() == before, (deep, axis_ticks()))

# other axes, and hidden lines
for key in b.value("[...document.querySelectorAll('.controls select option')].map(o => o.value)"):
    b.value(f"(() => {{ const s = document.querySelector('.controls select'); s.value = '{key}'; s.dispatchEvent(new Event('change')) }})()")
check("the x axis can be steps, tokens, time or money", b.value("document.querySelectorAll('.controls select option').length") == 4 and axis_ticks()[0] == "US dollars", axis_ticks())
b.value("(() => { const s = document.querySelector('.controls select'); s.value = 'STEP'; s.dispatchEvent(new Event('change')); document.querySelector('.controls input').click() })()")
b.value("document.querySelector('.legend button').click()")
check("a line can be hidden", b.value("document.querySelectorAll('figure[data-chart=\"0\"] path.thin').length") == 0)
check("all of this made no complaint", b.complaints() == [], b.complaints())

# looks
for name, scheme, width in ("light", "light", 1100), ("dark", "dark", 1100), ("narrow", "light", 390):
    b.media(scheme)
    b.size(width, 900)
    b.open(one)
    b.settle()
    b.screenshot(f"{pictures}/{name}.png")
    shown = png(f"{pictures}/{name}.png")
    wide = b.value("document.documentElement.scrollWidth")
    paper = b.value("getComputedStyle(document.body).backgroundColor")
    check(f"{name}: a screenshot that is not blank, no wider than the window", shown[0] == wide == width and shown[1] > 900 and shown[2] > 20 and (paper == "rgb(255, 255, 255)") == (scheme == "light"), (shown, wide, paper))
b.size(1100, 900)
b.media("dark", "print")
check("print is dark on white, without the controls", b.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)" and b.value("getComputedStyle(document.querySelector('.controls')).display") == "none")
b.media("light")
b.pdf(pictures + "/print.pdf")

b.call("Emulation.setScriptExecutionDisabled", value=True)
b.open(one)
b.screenshot(pictures + "/no-script.png")
b.call("Emulation.setScriptExecutionDisabled", value=False)
check("without scripts the curves are there", png(pictures + "/no-script.png")[2] > 20 and 'class="thin' in open(one).read())

b.open(several)
b.settle()
b.mouse("mouseMoved", *place(0.3))
names = b.value("[...document.querySelectorAll('.runs button')].map(e => e.textContent)")
check("several runs: the values of each run, by name", len(names) >= 2 and all(any(r.startswith(n + ": training") for r in rows()) for n in names), (names, rows()))
b.screenshot(pictures + "/several.png")
b.mouse("mouseMoved", *place(0.9))
check("a run has no values where it has no steps", any(r.startswith(names[0] + ":") for r in rows()) and not any(r.startswith(names[1] + ":") for r in rows()), rows())
b.value("document.querySelector('.runs button').click()")
b.mouse("mouseMoved", *place(0.31))
check("a run can be hidden", not any(r.startswith(names[0] + ":") for r in rows()) and any(r.startswith(names[1] + ":") for r in rows()), rows())
check("several runs: no complaint", b.complaints() == [], b.complaints())

# a long run: a point stands for several steps, with the lowest and the highest loss of them
loss = {s["step"]: s["loss"] for s in read(long_metrics)}
b.open(long)
b.settle()
wrong = []
for fraction in 0.05, 0.31, 0.77, 1.0:
    b.mouse("mouseMoved", *place(fraction))
    shown = rows()
    found = re.fullmatch(r"steps ([0-9,]+) to ([0-9,]+)", shown[0])
    values = [float(x) for x in re.findall(r"[0-9.]+", shown[1])]
    part = [loss[i] for i in range(*[int(found[k].replace(",", "")) + k - 1 for k in (1, 2)])] if found else [0]
    if not found or len(part) < 2 or abs(values[0] - min(part)) > 1e-4 or abs(values[-1] - max(part)) > 1e-4:
        wrong.append((shown, part))
check("a long run: the pointer shows the lowest and the highest loss of the steps under it", not wrong, wrong)

b.open(empty)
b.settle()
check("a run without steps: the page says so, without complaint", b.value("document.body.innerText.includes('no step has recorded it') || document.querySelector('svg.chart').textContent.includes('no step')") and b.complaints() == [], b.complaints())
b.close()
