#!/usr/bin/env python3
"""Copies the metrics.jsonl of a run into Weights & Biases or MLflow, without a network.

usage: import_metrics.py wandb|mlflow RUN [--project NAME] [--name NAME] [--to FOLDER]
  --project    W&B's project or MLflow's experiment; by default "tally"
  --name       name of the run there; by default that of the folder RUN
  --to         folder to write to. W&B: by default ., where `wandb sync wandb/offline-run-*` finds it. MLflow: by default mlruns; or a
               tracking URI, as sqlite:///mlflow.db. `mlflow ui --backend-store-uri FOLDER_OR_URI` shows it; for a folder, recent
               versions want MLFLOW_ALLOW_FILE_STORE=true in the environment

Every number of a step is logged under its key at its step, with the time at which the step ended. Numbers that are not known are left
out. The options of RUN/config.json become the configuration (W&B) or parameters (MLflow). A second import makes a second run.

Needs the package wandb, or mlflow or mlflow-skinny: `pip install wandb`. A tracking URI of a database needs all of mlflow.
"""
import argparse
import json
import os
import sys


def fail(message):
    print("import_metrics.py: " + message, file=sys.stderr)
    sys.exit(2)


def read_object(path):
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        fail("%s: %s" % (path, error))
    return value if isinstance(value, dict) else fail("%s: expected a JSON object" % path)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def numbers(line):
    """{key: float}; keys of an object in the line, as usd_by_booking, become usd_by_booking/useful_s"""
    out = {}
    for key, value in line.items():
        if isinstance(value, dict):
            out.update(("%s/%s" % (key, k), float(v)) for k, v in value.items() if is_number(v))
        elif is_number(value) and key not in ("step", "unix_time_s"):
            out[key] = float(value)
    return out


def read_steps(path):
    """(step, seconds since 1970, numbers) of each step, in order; damaged lines are skipped and counted"""
    damaged, last = 0, 0
    try:
        file = open(path, encoding="utf-8", errors="replace")
    except OSError as error:
        fail("%s: %s, expected the folder of a run" % (path, error.strerror))
    with file:
        for text in file:
            try:
                line = json.loads(text)
                step = line["step"]
                if "event" in line or step <= last:  # a resume; or a step of a damaged file a second time
                    continue
                time_s = line.get("unix_time_s") or line.get("wall_s") or 0  # lines of earlier versions lack the first
                yield int(step), float(time_s), numbers(line)
                last = step
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                damaged += 1
    if damaged:
        print("import_metrics.py: %s: skipped %d damaged lines" % (path, damaged), file=sys.stderr)


def import_module(name, package):
    try:
        return __import__(name)
    except ImportError:
        fail("Python's module %s is missing; `pip install %s` installs it" % (name, package))


def to_wandb(options, steps, config):
    os.environ.setdefault("WANDB_SILENT", "true")
    wandb = import_module("wandb", "wandb")
    folder = options.to or "."
    os.makedirs(folder, exist_ok=True)
    run = wandb.init(mode="offline", project=options.project, name=options.name, dir=folder, config=config)
    for step, time_s, values in steps:
        run.log(dict(values, _timestamp=time_s), step=step)
    run.finish()
    print("written to %s; `wandb sync` uploads it" % run.dir)


def to_mlflow(options, steps, config):
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    import_module("mlflow", "mlflow-skinny")
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    store = options.to or "mlruns"
    if "://" not in store:
        store = "file:" + os.path.abspath(store)
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name(options.project)
    number = experiment.experiment_id if experiment else client.create_experiment(options.project)
    run = client.create_run(number, run_name=options.name).info.run_id
    params = [Param(key, str(value)[:500]) for key, value in config.items() if value is not None]
    for i in range(0, len(params), 100):  # at most 100 in a call
        client.log_batch(run, params=params[i:i + 100])
    batch = []
    for step, time_s, values in steps:
        if len(batch) + len(values) > 1000:  # at most 1000 in a call
            client.log_batch(run, metrics=batch)
            batch = []
        batch += [Metric(key, value, int(time_s * 1000), step) for key, value in values.items()]
    client.log_batch(run, metrics=batch)
    client.set_terminated(run)
    print("written to %s; `mlflow ui --backend-store-uri %s` shows it" % (store, store))


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:], add_help=False)
    parser.add_argument("program", nargs="?", choices=("wandb", "mlflow"))
    parser.add_argument("run", nargs="?")
    parser.add_argument("--project", default="tally")
    parser.add_argument("--name")
    parser.add_argument("--to")
    parser.add_argument("-h", "--help", action="store_true")
    options = parser.parse_args()
    if options.help or not options.run:
        print(__doc__.strip(), file=sys.stdout if options.help else sys.stderr)
        sys.exit(0 if options.help else 2)
    options.name = options.name or os.path.basename(os.path.abspath(options.run))
    metrics = os.path.join(options.run, "metrics.jsonl")
    if not os.path.isfile(metrics):
        fail("%s: not found, expected the folder of a run" % metrics)
    config = read_object(os.path.join(options.run, "config.json"))
    (to_wandb if options.program == "wandb" else to_mlflow)(options, read_steps(metrics), config)


if __name__ == "__main__":
    main()
