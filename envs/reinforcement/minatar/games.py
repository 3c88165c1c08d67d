"""The five games by name, as MinAtar's authors order them."""

from envs.reinforcement.minatar.asterix import Asterix
from envs.reinforcement.minatar.base import Game
from envs.reinforcement.minatar.breakout import Breakout
from envs.reinforcement.minatar.freeway import Freeway
from envs.reinforcement.minatar.seaquest import Seaquest
from envs.reinforcement.minatar.space_invaders import SpaceInvaders

GAMES: dict[str, type[Game]] = {each.__name__: each for each in (Asterix, Breakout, Freeway, Seaquest, SpaceInvaders)}
