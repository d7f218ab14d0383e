# 30 kills of training runs at random moments. The share is what a loaded machine leaves of 99%: by hand, tests/soak.sh 1000
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "30 kills of training runs"
kills=30
[ "${SANITIZED:-OFF}" = OFF ] || kills=6
bash tests/soak.sh $kills 0.8 >"$scratch/out" 2>"$scratch/err"
ok "killed and resumed, every run ends bitwise as it would have, and its time is booked"
sed 's/^/# /' "$scratch/out"
finish
