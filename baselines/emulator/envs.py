"""envpool's Atari behind one small interface that tells what each step was.

What the emulator does at an episode's end, and peers have miscounted:

* The step after a `done` step is a *reset step*: its action is ignored, its reward is 0, its observation starts the
  next episode.
* With episodic life `done` also marks a lost life while the game goes on, its frame stack running on. Only
  `game_over` or `truncated` ends a game.
* A truncated game (27,000 agent steps) ends without `game_over`; the observation of that step is its true last one.
* A reset step plays up to 30 no-op frames and FIRE, after a lost life too. `scorekeeper.py` has the game that ends
  there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.config import ConfigError

FRAME_SKIP = 4  # emulator frames an agent step; every count of frames in the suite rests on it
FRAME_STACK = 4
IMAGE_SIZE = 84  # pixels, both ways


@dataclass(frozen=True)
class EnvironmentConfig:
    """The emulator's settings; a protocol pins them.

    Raises: ConfigError for a value that the suite's counting, networks or seeds do not follow.
    """

    frame_skip: int
    frame_stack: int
    image_size: int
    noop_max: int
    fire_reset: bool
    episodic_life: bool
    reward_clip: bool
    repeat_action_probability: float
    max_agent_steps: int  # a game longer than this is cut
    seeds: str  # how environments get theirs
    # All 18 actions, or those that do something in the game. A protocol that was pinned before there was the key leaves
    # it out, so that its hash stays.
    full_action_space: bool = False

    def __post_init__(self) -> None:
        # A pin that nothing follows would be written into every manifest and be untrue.
        followed = {
            "frame_skip": FRAME_SKIP,  # budgets and scores count frames by it
            "frame_stack": FRAME_STACK,  # the networks' input channels
            "image_size": IMAGE_SIZE,
            "seeds": "spawned",  # `seeding.Streams.environment_seeds`
            "full_action_space": False,  # `number_of_actions`, and what FIRE is called at a reset
        }
        for key, value in followed.items():
            if getattr(self, key) != value:
                raise ConfigError(f"{key} is {getattr(self, key)!r}, and the suite follows only {value!r}")


@dataclass(frozen=True)
class Step:
    """What one step of N environments gave. Arrays are the emulator's own and valid until dropped."""

    observations: np.ndarray  # [N, 4, 84, 84] uint8, oldest frame first
    rewards: np.ndarray  # [N] float32, clipped to -1..1 where the protocol clips
    raw_rewards: np.ndarray  # [N] float32, as the game gave them
    dones: np.ndarray  # [N] bool, an episode ended: a lost life, game over, or the time limit
    game_over: np.ndarray  # [N] bool
    truncated: np.ndarray  # [N] bool, cut by the time limit
    resets: np.ndarray  # [N] bool, this was a reset step
    lives: np.ndarray  # [N] int32


@dataclass(frozen=True)
class Console:
    """An emulated console at one moment."""

    screen: np.ndarray  # [210, 160, 3] uint8, RGB: the newest frame, as a television would show it
    memory: bytes  # its 128 bytes of RAM


class AtariEnvironments:
    """N environments of one game, stepped together.

    The bytes depend on `seeds` and the actions alone, not on `threads` or on how environments are spread over pools.
    """

    def __init__(
        self,
        envpool_id: str,
        seeds: Sequence[int],
        config: EnvironmentConfig,
        *,
        threads: int,
        with_screens: bool = False,
    ):
        """`with_screens`: `console` can be asked; it changes no step."""
        import envpool

        self._pool = envpool.make_gymnasium(
            envpool_id,
            num_envs=len(seeds),
            seed=list(seeds),
            num_threads=threads,
            frame_skip=config.frame_skip,
            stack_num=config.frame_stack,
            img_height=config.image_size,
            img_width=config.image_size,
            gray_scale=True,
            noop_max=config.noop_max,
            use_fire_reset=config.fire_reset,
            episodic_life=config.episodic_life,
            reward_clip=config.reward_clip,
            repeat_action_probability=config.repeat_action_probability,
            max_episode_steps=config.max_agent_steps,
            **({"render_mode": "rgb_array"} if with_screens else {}),
        )
        self._with_screens = with_screens
        self.envpool_id = envpool_id
        self.num_envs = len(seeds)
        self.num_actions = int(self._pool.action_space.n)
        self._previous_dones = np.zeros(self.num_envs, dtype=bool)

    def reset(self) -> np.ndarray:
        """Starts every environment; call once. Returns observations [N, 4, 84, 84] uint8."""
        observations, info = self._pool.reset()
        self.lives = info["lives"].copy()
        if self._with_screens:
            self._memory = info["ram"]
        return observations

    def step(self, actions: np.ndarray) -> Step:
        """Steps all environments. `actions` [N] of any integer type."""
        self.begin(actions)
        return self.finish()

    def begin(self, actions: np.ndarray) -> None:
        """Starts a step and returns at once; `finish` must come before the next one."""
        self._pool.send(actions.astype(np.int32))

    def finish(self) -> Step:
        """Waits for the step that was begun."""
        observations, rewards, terminated, truncated, info = self._pool.recv()
        resets = self._previous_dones
        self._previous_dones = terminated | truncated
        if self._with_screens:
            self._memory = info["ram"]
        return Step(
            observations=observations,
            rewards=rewards,
            raw_rewards=info["reward"],
            dones=self._previous_dones,
            game_over=info["terminated"].astype(bool),
            truncated=truncated,
            resets=resets,
            lives=info["lives"],
        )

    def console(self, environment: int) -> Console:
        """What the console of one environment shows and holds now. Needs `with_screens`."""
        screens = self._pool.render(env_ids=[environment])
        assert screens is not None, "it was made with screens"
        return Console(screens[0], self._memory[environment].tobytes())

    def config(self) -> dict[str, Any]:
        """envpool's own full configuration, as plain data, without what is particular to this pool."""
        particular = {
            "base_path",
            "seed",
            "env_seed",
            "num_threads",
            "num_envs",
            "batch_size",
            "thread_affinity_offset",
        }
        full = self._pool.spec.config._asdict()
        return {key: value for key, value in full.items() if key not in particular}

    def provenance(self, *, train_seeds: Sequence[int], greedy_seeds: Sequence[int] = ()) -> dict[str, Any]:
        """What a manifest keeps of a run's environments (`agent.Agent.provenance`)."""
        return {
            "envpool_id": self.envpool_id,
            "envpool_config": self.config(),
            "rom_sha256": rom_sha256(self.envpool_id),
            "train_seeds": list(train_seeds),
            "greedy_seeds": list(greedy_seeds),
        }

    def close(self) -> None:
        self._pool.close()


def number_of_actions(envpool_id: str) -> int:
    """How many actions a game has; starts no emulator."""
    import envpool

    return int(envpool.make_spec(envpool_id).action_space.n)


def rom_sha256(envpool_id: str) -> str:
    """SHA-256 of the ROM that envpool plays for a game id such as "Pong-v5"."""
    import envpool_assets
    from envpool.registration import registry

    task = registry.specs[envpool_id][2]["task"]
    rom = Path(envpool_assets.__file__).parent / "atari" / "roms" / f"{task}.bin"
    return hashlib.sha256(rom.read_bytes()).hexdigest()
