"""The `motley` command: `motley JOB ...` is `python -m jobs.JOB ...`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import typer

# A job's module is imported when the job is called: `motley --help` waits for none of them.
JOBS = {
    "train": "Fine-tune a model cut over several actors, track the run in MLflow, and register the result.",
    "continual": "Learn one data set after the other, and say what is forgotten of the earlier ones.",
    "tune": "Search for better settings: many runs, compared on dev.",
    "rates": "Find a learning rate: train with one that rises, and see what the loss does.",
    "evaluate": "Score a trained model: how good, how sure, where it fails, and whether it beats another.",
    "robustness": "Change texts a little, and say how often the answer changes and what that costs.",
    "compress": "Write smaller, faster forms of a trained model, and say what each costs.",
    "prune": "Leave out the blocks, neurons and heads that matter least; the rest learns again from the whole model.",
    "label": "Let a model label the texts that it is sure of, as more training data.",
    "select": "Choose the texts most worth labelling by people.",
    "check": "Cut a model over actors and compare it, step by step, with the plain model.",
    "chaos": "Kill random parts of a run at random moments, and compare it with an untouched one.",
    "data": "Say what a data set holds: lengths, labels, duplicates, faults, a token budget.",
    "plan": "Plan the training of a model over the cluster's devices, without training.",
    "profile": "Measure the model's units on every type of device of the cluster.",
    "baseline": "Say what a model's inputs and outputs are like, so that drift from it is seen.",
    "mask": "Mask the personal data in a text, or put it back.",
    "serve": "Serve a registered model over HTTP.",
    "versions": "Say which version of a model is served, try another beside it, and go back.",
    "keys": "Make, list, revoke and rotate the endpoint's keys.",
    "addresses": "Fetch the demo data.",
    "samples": "Write a small ready data set to try a task on.",
    "demo": "Train, track, register and serve an address parser.",
}

app = typer.Typer(
    help="Fine-tune transformer models across the CPUs and GPUs of a Ray cluster, and serve the result.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _handed_on(job: str) -> Callable[[typer.Context], None]:
    def call(context: typer.Context) -> None:
        import_module(f"jobs.{job}").app(args=context.args, prog_name=f"motley {job}")

    return call


# The job itself reads its arguments, --help among them.
UNREAD = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
for _job, _help in JOBS.items():
    app.command(_job, help=_help, add_help_option=False, context_settings=UNREAD)(_handed_on(_job))


if __name__ == "__main__":
    app()
