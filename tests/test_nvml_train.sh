# A run's energy, clocks and throttling, as tests/gpu/fake_nvml.c reports them, on two ranks that share an emulated GPU.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
name="two ranks on a GPU of which NVML tells"
if ! grep -q '^TALLY_CUDA:.*=EMULATED' "$TESTS/CMakeCache.txt"; then skip "$name" "the emulated GPU alone is as we say"; finish; fi
need_ranks "$name"
need_python "$name"

for i in $(seq 200); do echo "line $i: the quick brown fox jumps over the lazy dog"; done >"$scratch/text.txt"
tiny_llama "$scratch/model.json" 64 96 1 1 1 '"head_dim": 64'
export FAKE_NVML_STATE=$scratch/gpu SIMT_WORKERS=1 SIMT_DEVICES=1
energy=1000000
tells() { # REASONS: and it has spent 5 J more
    energy=$((energy + 5000))
    printf 'pci 0000:01:00.0\nenergy_mj %d\nsm_mhz 1410\nsm_max_mhz 1980\nmemory_mhz 2619\nmemory_max_mhz 2619\ntemperature_c 88\nreasons %s\n' \
        $energy "$1" >"$FAKE_NVML_STATE.new" && mv "$FAKE_NVML_STATE.new" "$FAKE_NVML_STATE"
}
tells 0x4; first=$energy
LD_LIBRARY_PATH=$TESTS/fake_nvml${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} timeout -s KILL 300 "$MPIEXEC" -np 2 "$tally" train \
    --model "$scratch/model.json" --data "$scratch/text.txt" --out "$scratch/run" --steps 60 --batch 1 --seq-len 32 --device cuda --comm staged \
    --eval-every 0 --checkpoint-every 0 --price 3 --peak-seconds 0 >"$scratch/out" 2>"$scratch/err" &
run=$! metrics=$scratch/run/metrics.jsonl
# heat from the second step on, until a step has seen it
while kill -0 $run 2>/dev/null; do
    if ! grep -q '"step":2' "$metrics" 2>/dev/null || grep -q hw_thermal "$metrics"; then tells 0x4; else tells 0x44; fi
    sleep 0.02
done
wait $run; ok "the run ends with exit code 0"
python3 - "$scratch/run" $(((energy - first) / 1000)) <<'P'; ok "the joules are those of the counter, read by one rank; each step has clocks and reasons for throttling"
import json, sys
steps = [s for s in (json.loads(x) for x in open(sys.argv[1] + "/metrics.jsonl")) if "loss" in s]
ledger = json.load(open(sys.argv[1] + "/ledger.json"))
assert ledger["energy_source"] == "nvml" and 0 < ledger["energy_j"] <= int(sys.argv[2]), (ledger["energy_j"], sys.argv[2])
assert sum(s["energy_j"] for s in steps) <= ledger["energy_j"] + 1e-6
assert abs(ledger["energy_j"] / 5 - round(ledger["energy_j"] / 5)) < 1e-6, ledger["energy_j"]
assert all((s["gpu_sm_mhz"], s["gpu_sm_max_mhz"], s["gpu_memory_mhz"], s["gpu_temperature_c"]) == (1410, 1980, 2619, 88) for s in steps)
assert {s["gpu_throttle"] for s in steps} <= {"sw_power_cap", "sw_power_cap,hw_thermal"}, steps
assert ledger["price_usd_per_hour"] == 3, ledger # one GPU
P
count_of() { grep -c "$1" "$scratch/err"; }
[ "$(count_of '^power: the GPU of rank 0 is at its power limit, 1410 of 1980 MHz')" -eq 1 ]; ok "the log mentions the power limit once"
if ! grep -q hw_thermal "$metrics" || tail -1 "$metrics" | grep -q hw_thermal; then
    skip "the log says when throttling begins and ends" "the run was over before the GPU could be made hot and cool again"; finish
fi
[ "$(count_of '^throttling begins: the GPU of rank 0 is slowed by heat (hardware slowdown), 1410 of 1980 MHz, 88 C')" -eq 1 ] &&
    [ "$(count_of '^throttling ends: no GPU is slowed by heat (hardware slowdown) any more')" -eq 1 ]
ok "the log says when throttling begins and ends"
finish
