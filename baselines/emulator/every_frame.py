"""One game frame by frame, where agents see every fourth frame: for people to watch.

envpool can play an environment of frame skip 1, but its observations then run into one another, lives end it at other
frames, and its resets draw other no-ops. So this plays a game without ends of its own, takes its pictures from the
console's screen, and does by hand what a reset step does: the no-ops that envpool drew, then FIRE.

None of that is taken on trust. Whoever plays a game here compares memory and screen with the environment that it is a
game of, after every agent step (`suite.game_screens`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice

import numpy as np

from baselines.emulator.envs import FRAME_SKIP, Console, EnvironmentConfig

SCREEN_SHAPE = (210, 160, 3)
FRAMES_PER_SECOND = 60  # of the console, rounded from 59.92
_NOOP, _FIRE = 0, 1
# Whose minimal action set in ALE lacks FIRE: action 1 is another one there, and a reset does not press it.
_WITHOUT_FIRE = frozenset(
    f"{game}-v5"
    for game in ("Asterix", "CrazyClimber", "Freeway", "KungFuMaster", "MsPacman", "Skiing", "Surround", "Tutankham")
)
_NO_LIMIT = 2**30


def reset_draws(seed: int, noop_max: int) -> Iterator[int]:
    """What envpool draws at each reset of an environment with this seed, 0 to noop_max - 1, from the first one on.

    As std::mt19937 and libstdc++'s std::uniform_int_distribution do (Lemire's method, GCC 11 and newer).
    """
    generator = np.random.MT19937()
    generator._legacy_seeding(seed)  # std::mt19937's own seeding; numpy's usual one is another
    rejected_below = (2**32 - noop_max) % noop_max
    while True:
        product = int(generator.random_raw()) * noop_max
        while product % 2**32 < rejected_below:
            product = int(generator.random_raw()) * noop_max
        yield product >> 32


@cache
def seed_that_draws(draw: int, noop_max: int, place: int = 0) -> int:
    """The least seed whose environment draws `draw` at its reset number `place`, counted from 0."""
    if not 0 <= draw < noop_max:
        raise ValueError(f"a reset draws from 0 to {noop_max - 1}, never {draw}")
    seed = 0
    while next(islice(reset_draws(seed, noop_max), place, None)) != draw:
        seed += 1
    return seed


class EveryFrame:
    """A game from its first frame on, as an environment under `config` plays it after a reset that drew `draw`.

    A game does not depend on the seed but for the draws, nor on what the games before it were, with few exceptions. But
    a reset fills the console's memory with numbers of the emulator's own, others each time, and not every game clears
    all of them.
    """

    def __init__(self, envpool_id: str, config: EnvironmentConfig, draw: int, place: int = 0):
        """`place`: of the game among those of its environment, from 0: so many began before it."""
        import envpool

        self._presses_fire = config.fire_reset and envpool_id not in _WITHOUT_FIRE
        self._pool = envpool.make_gymnasium(
            envpool_id,
            num_envs=1,
            seed=[seed_that_draws(draw, config.noop_max, place)],
            num_threads=1,
            frame_skip=1,
            stack_num=1,
            noop_max=config.noop_max,
            use_fire_reset=config.fire_reset,
            episodic_life=False,
            reward_clip=False,
            repeat_action_probability=config.repeat_action_probability,
            max_episode_steps=_NO_LIMIT,
            render_mode="rgb_array",
        )
        for _ in range(place + 1):
            _, info = self._pool.reset()
        self._take(info)
        self.is_over = False
        self.reward = 0.0  # of the last agent step, as the game gave it

    def act(self, action: int) -> Iterator[np.ndarray]:
        """Takes one agent step, four frames, fewer where the game ends; gives each screen [210, 160, 3] uint8."""
        self.reward = 0.0
        for _ in range(FRAME_SKIP):
            yield self._frame(action)
            if self.is_over:
                return

    def go_on(self, draw: int) -> Iterator[np.ndarray]:
        """What a reset step after a lost life does that drew `draw`; gives each screen."""
        for _ in range(draw + 1 - self._presses_fire):
            yield self._frame(_NOOP)
        if self._presses_fire:
            yield self._frame(_FIRE)
        self.reward = 0.0

    def console(self) -> Console:
        return Console(self._screen(), self._memory)

    def close(self) -> None:
        self._pool.close()

    def _frame(self, action: int) -> np.ndarray:
        _, reward, _, _, info = self._pool.step(np.array([action], dtype=np.int32))
        self.reward += float(reward[0])
        self.is_over = bool(info["terminated"][0])
        self._take(info)
        return self._screen()

    def _screen(self) -> np.ndarray:
        rendered = self._pool.render()
        assert rendered is not None, "it was made with a render mode"
        return rendered[0]

    def _take(self, info: dict[str, np.ndarray]) -> None:
        self._memory = info["ram"][0].tobytes()
        self.lives = int(info["lives"][0])
