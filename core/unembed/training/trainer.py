"""Training a hypothesizer and a corrector on the network's own hypotheses, for any modality.

A round: draw signals, embed them with the black box, let the current network guess and then correct its guess
`depth` − 1 times, embed all of these, then take `round_steps` optimizer steps. So every target serves the
hypothesizer once and the corrector `depth` times, and nothing is generated or embedded for one example alone.
Hypotheses are made before any step on their targets, in large batches where generation is cheap. All
randomness of a round is seeded by (seed, step), so a killed run resumes exactly from its last save.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unembed.checkpoints.manifest import read_manifest
from unembed.errors import CheckpointError, InputError, TrainingError
from unembed.threads import fitting_threads
from unembed.training.config import TrainConfig
from unembed.training.optimizer import optimizer, rate_at
from unembed.training.output import Output
from unembed.training.recipe import Recipe

__all__ = ["Trainer"]

log = logging.getLogger("unembed.training")

LONG = 10.0  # seconds without a word

OnEvent = Callable[[str, int, dict[str, Any]], None]


def _ignore(kind: str, step: int, values: dict[str, Any]) -> None:
    pass


class Example(NamedTuple):
    """One training batch; the corrector's when it has a hypothesis."""

    target: Tensor
    signals: Tensor
    hypothesis: Tensor | None = None
    embedding: Tensor | None = None
    noise: Tensor | None = None


class Trainer:
    """Runs one config to its end, or to `max_seconds`, on one device or, under a launcher, on several."""

    def __init__(self, config: TrainConfig, recipe: Recipe, *, resume: bool = False) -> None:
        from accelerate import Accelerator, DistributedDataParallelKwargs

        self.config = config
        self.recipe = recipe
        self.on_event: OnEvent = _ignore
        self.accelerator = Accelerator(
            mixed_precision=config.precision,
            cpu=recipe.embedder.device.type == "cpu",
            # First guesses may leave the parameters that read hypotheses unused.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=not recipe.reads_all)],
        )
        inner = optimizer(recipe.network.parameters(), rate=config.rate, weight_decay=config.weight_decay)
        self.network, self.optimizer = self.accelerator.prepare(recipe.network, inner)
        self.held_out = recipe.held_out() if self.accelerator.is_main_process else []
        self.step = 0
        self.measured = 0  # the step of the last evaluation
        self.examples = 0
        self.seconds = 0.0
        self.writing = float("inf")  # seconds that the last round's hypotheses took
        self.pace = 0.0  # seconds a step of the last round, to place a step in time before the device is done
        self.output = Output(config.output)
        self.resumed = resume
        self.held = resume and (config.output / "held").exists()
        if resume:
            self._load()

    def run(self, on_event: OnEvent | None = None) -> None:
        """Train until all steps are done or the time is up, and save. `on_event` gets scalars, samples and saves."""
        with fitting_threads(self.recipe.network, self.recipe.embedder):
            self._run(on_event)

    def _run(self, on_event: OnEvent | None) -> None:
        config, began = self.config, time.monotonic()
        self.on_event = on_event or _ignore
        if config.compile:
            self.recipe.compile()
        start, last_saved = self.seconds, self.step
        if self.resumed:
            self._complete()
        while self._progress() < 1:
            self._hold()
            self._round()
            spent = self._agreed(time.monotonic() - began)
            self.seconds = start + spent
            late = config.max_seconds is not None and spent > config.max_seconds
            if self.step - last_saved >= config.save_every or late or self._progress() >= 1:
                self._save()
                last_saved = self.step
            self._evaluate()
            if late:
                log.info("time is up after step %d; resume goes on from here", self.step)
                return

    def _round(self) -> None:
        config = self.config
        seed = hash((config.seed, self.step, self.accelerator.process_index)) % 2**62
        torch.manual_seed(seed)  # dropout
        draw = torch.Generator().manual_seed(seed)
        noise = torch.Generator(self.recipe.embedder.device).manual_seed(seed)
        self.network.train()
        count = min(config.round_steps, config.steps - self.step)
        losses: dict[bool, list[Tensor]] = {True: [], False: []}
        began, examples = time.monotonic(), 0
        work: float | Tensor = 0.0
        for taken, example in enumerate(self._examples(count, draw, noise)):
            progress = self._progress(ahead=taken * self.pace)
            factor = rate_at(self.step, progress, warmup=config.warmup, decay=config.decay)
            for group in self.optimizer.param_groups:
                group["lr"] = config.rate * group["scale"] * factor
            with self.accelerator.autocast():
                loss = self.network(*example[:4], **_told(example.noise))
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(self.network.parameters(), config.clip)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            corrected = example.hypothesis is not None
            losses[corrected].append(loss.detach())
            examples += len(example.signals)
            work = work + self.recipe.flops(example.signals, corrected)
        means = {
            name: torch.stack(losses[kind]).mean().item()
            for name, kind in (("guess_loss", False), ("correct_loss", True))
            if losses[kind]
        }
        for name, value in means.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{name} is {value} at step {self.step}: lower rate or clip; what was saved last is kept"
                )
        operations = float(work)
        seconds = self._agreed(time.monotonic() - began)
        examples *= self.accelerator.num_processes
        self.examples += examples
        self.pace = seconds / count
        self.on_event(
            "scalars",
            self.step,
            {
                **means,
                **self.recipe.scalars(),
                "examples": self.examples,
                "examples_per_second": examples / seconds,
                "tflops": operations / seconds / 1e12,
                "rate": factor,
            },
        )

    def _agreed(self, seconds: float) -> float:
        """The main process's clock, so that all processes decay and stop together."""
        from accelerate.utils import broadcast_object_list

        (agreed,) = broadcast_object_list([seconds])
        return float(agreed)

    def _progress(self, ahead: float = 0.0) -> float:
        """How far training is `ahead` seconds after the round began, 0 to 1: by steps or by time, the further."""
        timed = (self.seconds + ahead) / self.config.total_seconds if self.config.total_seconds else 0.0
        return max(self.step / self.config.steps, timed)

    def _examples(self, count: int, draw: torch.Generator, noise: torch.Generator) -> list[Example]:
        """The round's batches, shuffled; those of one shape get their hypotheses in one go.

        All processes take steps of one kind together, and where recipes give them like batches those of like shapes,
        since a step lasts as long as its slowest batch.
        """
        recipe, examples = self.recipe, []
        began = time.monotonic()
        if self.writing > LONG and self.accelerator.is_main_process:
            log.info("step %d: making hypotheses for the next %d steps", self.step, count)
        depth = self.config.depth if self.step >= self.config.guess_steps else 0
        groups: dict[torch.Size, list[Tensor]] = {}
        for signals in recipe.batches(-(-count // (depth + 1)), draw):
            groups.setdefault(signals.shape[1:], []).append(signals)
        for _, batches in sorted(groups.items()):
            sizes = [len(signals) for signals in batches]
            signals = torch.cat(batches).to(recipe.embedder.device)
            target, told = recipe.observe(recipe.embed(signals), noise)
            more = _told(told)
            parts = {"target": target, "signals": signals, **more}
            hypothesis: Tensor | None = None
            embedding: Tensor | None = None
            for done in range(depth + 1):
                rows = zip(*(torch.split(x, sizes) for x in parts.values()), strict=True)
                examples += [Example(**dict(zip(parts, row, strict=True))) for row in rows]
                if done < depth:
                    with torch.no_grad(), self.accelerator.autocast():
                        hypothesis = recipe.propose(target, hypothesis, embedding, signals, noise, **more)
                    embedding = recipe.embed(hypothesis)
                    parts |= {"hypothesis": hypothesis, "embedding": embedding}
        self.writing = time.monotonic() - began
        examples.sort(key=lambda example: example.hypothesis is not None)
        shared = torch.Generator().manual_seed(hash((self.config.seed, self.step)) % 2**62)
        order = torch.randperm(len(examples), generator=shared).tolist()
        return [examples[index] for index in order[:count]]

    def _hold(self) -> None:
        """Save what training goes on from another time, right before the first round in which the rate falls."""
        config, folder = self.config, self.config.output / "held"
        count = min(config.round_steps, config.steps - self.step)
        then = max(self._progress(ahead=count * self.pace), (self.step + count) / config.steps)
        if config.keep_held and then > 1 - config.decay and not self.held and self.accelerator.is_main_process:
            self.network.eval()  # for its self-test
            self.recipe.save(folder, self._training())
            self.held = True
            self.on_event("held", self.step, {"folder": str(folder)})

    def _evaluate(self) -> None:
        """Measure on what is held out, if it is time to: every so often, and at the end."""
        due = self.step - self.measured >= self.config.evaluate_every or self._progress() >= 1
        if not due or not self.accelerator.is_main_process:
            return
        self.measured = self.step
        self.network.eval()
        inverter = self.recipe.inverter()
        for name, objects in self.held_out:
            vectors = inverter.embed(objects)
            row: dict[str, Any] = {}
            for steps in sorted({0, self.config.evaluate_steps}):
                found = inverter.invert(vectors, steps=steps, beam=self.config.evaluate_beam)
                row[f"{name}/similarity@{steps}"] = found.similarity.mean().item()
                row[f"{name}/exact@{steps}"] = inverter.exact(objects, found).float().mean().item()
            self.on_event("scalars", self.step, row)
            self.on_event("sample", self.step, {"original": objects[0], "reconstruction": found.objects[0]})

    def _save(self) -> None:
        """The whole state under a temporary name, then renamed; then the checkpoint that `load` opens."""
        if not self.accelerator.is_main_process:
            return
        network = self.accelerator.unwrap_model(self.network)
        if not all(parameter.isfinite().all() for parameter in network.parameters()):
            raise TrainingError(f"weights aren't finite at step {self.step}: lower rate or clip")
        state = {
            "network": network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "examples": self.examples,
            "seconds": self.seconds,
            "measured": self.measured,
        }
        self.output.write_state(state, self.config)
        self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        self.network.eval()  # its self-test is what it reaches without dropout
        self.recipe.save(self.output.checkpoint, self._training())
        self.on_event("saved", self.step, {"folder": str(self.config.output)})

    def _training(self) -> dict[str, Any]:
        return {
            "steps": self.step,
            "examples": self.examples,
            "seconds": round(self.seconds),
            "device": _device_name(self.recipe.embedder.device),
            "config": self.config.model_dump(mode="json"),
        }

    def _load(self) -> None:
        state = self.output.read_state()
        if self.config.steps < state["step"]:
            raise InputError(f"steps: {self.config.steps} are fewer than the {state['step']} that are done")
        try:
            self.accelerator.unwrap_model(self.network).load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            place = self.output.folder
            raise CheckpointError(f"the state in {place} doesn't fit this config: train anew elsewhere") from error
        self.step, self.examples, self.seconds = state["step"], state["examples"], float(state["seconds"])
        self.measured = state.get("measured", self.step)
        log.info("resumed at step %d of %s", self.step, self.output.folder)

    def _complete(self) -> None:
        """Do what a kill kept the last save from: the checkpoint, its line in the log, the evaluation after it."""
        if self.accelerator.is_main_process:
            try:
                done = read_manifest(self.output.checkpoint).training.get("steps")
            except CheckpointError:
                done = None
            if done == self.step:
                self.on_event("saved", self.step, {"folder": str(self.config.output)})
            else:
                self._save_checkpoint()
        self._evaluate()


def _told(noise: Tensor | None) -> dict[str, Tensor]:
    return {} if noise is None else {"noise": noise}


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
