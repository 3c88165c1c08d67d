"""Bodies under other physics. Each factor is held against a case whose motion is known."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from envs.reinforcement.backends import bodies
from envs.reinforcement.backends.pool import Step
from envs.reinforcement.backends.spaces import Box
from envs.reinforcement.envpool import EnvPool
from envs.reinforcement.mujoco import MuJoCo, SlipperyAnt
from plasticity_rl.checks import UsageError
from plasticity_rl.seeds import derive
from tests.envs.reinforcement.playing import assert_same, boxes, play

SEEDS = np.array([[3, 5], [9, 14]])
MEMBERS = (0, 0, 1, 1)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def of(env_id: str, *vary: str, **fields) -> MuJoCo:
    return MuJoCo(ids=(env_id,), vary=vary, **fields)


def moved(benchmark: EnvPool, actions: np.ndarray, visit: int = 0) -> Step:
    return play(benchmark.pool(benchmark.visits()[visit], SEEDS, 2, 7), actions)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vary": ("weight=1..2",)}, "unknown factor of vary 'weight'"),
        ({"vary": ("mass=2..1",)}, "mujoco: the range in 'mass=2..1' must go upwards"),
        ({"vary": ("mass",)}, "mujoco: vary takes name=low..high or name=value;value, not 'mass'"),
        ({"vary": ("mass=0..2",)}, "mujoco: factors are at least 0, above 0 in a range of draw=log-uniform, not mass=0"),
        ({"vary": ("gravity=-1;1",)}, "mujoco: factors are at least 0, above 0 in a range of draw=log-uniform, not gravity=-1"),
        ({"vary": ("mass=1..2", "mass=3")}, "mujoco: vary names a factor twice"),
        ({"vary": ("fault", "fault")}, "mujoco: vary names a factor twice"),
        ({"shifts": ("offset",), "gradual": 0.5}, "mujoco: physics changes at once: gradual=0.5 needs vary= without entries"),
        ({"vary": (), "tasks": 2}, "mujoco: 2 tasks of 1 ids need shifts"),
        ({"ids": ("WalkerWalk-v1",)}, "mujoco: WalkerWalk-v1 is no body of Gym-MuJoCo; use Ant-v4, HalfCheetah-v4"),
        ({"ids": ("Ant-v4",), "vary": ("stiffness=0.5..2",)}, "mujoco: Ant-v4 has no stiffness to vary: it is 0 there"),
        ({"kwargs": ("xml_file=x.xml",)}, "mujoco: xml_file and base_path of HalfCheetah-v4 are set by the benchmark"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        MuJoCo(**fields)
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


ALL = ("friction", "gravity", "mass", "strength", "damping")


@pytest.mark.parametrize("env_id", ["Ant-v3", "HalfCheetah-v4", "Hopper-v4", "Walker2d-v5", "Humanoid-v4", "Swimmer-v4"])
def test_factors_of_one_are_the_packaged_body_and_others_are_not(env_id):
    names = [name for name in ALL if not (env_id == "Swimmer-v4" and name in ("damping", "gravity"))]
    actions = boxes(30, 4, EnvPool(ids=(env_id,)).action_space.size)
    plain = moved(EnvPool(ids=(env_id,)), actions)
    assert_same(moved(of(env_id, *(f"{name}=1" for name in names)), actions), plain)
    for name in names:
        other = moved(of(env_id, f"{name}=0.5"), actions)
        swims = env_id == "Swimmer-v4" and name == "friction"  # it touches nothing
        assert np.array_equal(other.observations, plain.observations) == swims, name
        np.testing.assert_array_equal(other.observations[0, :, :8], plain.observations[0, :, :8])  # they start alike


def test_without_gravity_a_body_does_not_fall():
    """In a step of 0.05 s before the feet touch the ground, bodies with gravity fall by g t^2 / 2, whatever else moves them."""
    floating, falling, heavy = (moved(of("Ant-v4", f"gravity={g}"), np.zeros((20, 4, 8))).observations[..., 0] for g in (0, 1, 2))
    for times, heights in ((1, falling), (2, heavy)):
        np.testing.assert_allclose(heights[1] - floating[1], -times * 9.81 * 0.05**2 / 2, rtol=1e-4)
    assert (floating[20] - falling[20]).min() > 0.1


def test_twice_the_strength_is_twice_the_action():
    actions = boxes(30, 4, 6)
    np.testing.assert_array_equal(
        moved(of("HalfCheetah-v4", "strength=2"), actions / 2).observations, moved(EnvPool(ids=("HalfCheetah-v4",)), actions).observations
    )


def test_twice_the_mass_moves_alike_with_twice_all_forces():
    actions = boxes(40, 4, 1)
    plain, heavy = moved(EnvPool(ids=("InvertedPendulum-v4",)), actions), moved(of("InvertedPendulum-v4", "mass=2"), actions)
    assert not np.array_equal(heavy.observations, plain.observations)
    forced = moved(of("InvertedPendulum-v4", "mass=2", "strength=2", "damping=2"), actions)
    np.testing.assert_allclose(forced.observations, plain.observations, atol=1e-5)


def test_a_broken_motor_ignores_its_action():
    benchmark, actions = of("HalfCheetah-v4", "fault", tasks=3), boxes(30, 4, 6)
    broken = [benchmark.physics(7, member, 0).broken for member in MEMBERS]
    assert broken[0] != broken[2] and broken[0] == np.random.default_rng(derive(7, 0, "set", "fault", 0)).integers(6)
    idle = actions.copy()
    for env, motor in enumerate(broken):
        idle[:, env, motor] = 0
    np.testing.assert_array_equal(moved(benchmark, actions).observations, moved(EnvPool(ids=("HalfCheetah-v4",)), idle).observations)


FILE = b"""<mujoco>
  <compiler settotalmass="14"/>
  <default>
    <joint damping="1 2"/>
    <default class="foot"><geom friction="0.5 0.1 0.2"/><motor gear="3"/></default>
  </default>
  <worldbody>
    <geom name="floor" density="10"/>
    <body><inertial mass="2" diaginertia="1 2 3"/><joint stiffness="4"/><geom mass="5"/></body>
  </worldbody>
  <actuator><motor/><motor gear="100 0"/></actuator>
</mujoco>"""


def test_what_becomes_of_a_file():
    found = {name: ElementTree.fromstring(bodies.changed(FILE, {name: 0.5})) for name in bodies.FACTORS}
    # MuJoCo's own default is stated before it is halved.
    main, foot = found["friction"].find("default/geom"), found["friction"].find("default/default/geom")
    assert (main.get("friction"), foot.get("friction")) == (
        "0.5 0.005 0.0001",
        "0.25 0.1 0.2",
    )
    assert found["gravity"].find("option").get("gravity") == "0.0 0.0 -4.905"
    mass = found["mass"]
    assert [mass.find(path).get(name) for path, name in (("default/geom", "density"), ("worldbody/geom", "density"))] == ["500.0", "5.0"]
    assert [mass.find("worldbody/body/inertial").get(name) for name in ("mass", "diaginertia")] == ["1.0", "0.5 1.0 1.5"]
    assert (mass.find("worldbody/body/geom").get("mass"), mass.find("compiler").get("settotalmass")) == ("2.5", "7.0")
    assert [motor.get("gear") for motor in found["strength"].find("actuator")] == [None, "50.0 0.0"]  # the first may have that of a class
    assert found["strength"].find("default/default/motor").get("gear") == "1.5"
    bare = ElementTree.fromstring(bodies.changed(b"<mujoco><actuator><motor/></actuator></mujoco>", {"strength": 0.5}))
    assert bare.find("actuator/motor").get("gear") == "0.5"
    assert found["stiffness"].find("worldbody/body/joint").get("stiffness") == "2.0"
    assert found["damping"].find("default/joint").get("damping") == "0.5 1.0"
    faulty = ElementTree.fromstring(bodies.changed(FILE, {}, 1))
    assert [motor.get("gear") for motor in faulty.find("actuator")] == [None, "0"] and bodies.motors(FILE) == 2


def test_files_are_named_by_their_content_and_written_once(tmp_path):
    one = bodies.written(FILE)
    file = Path(one["base_path"], bodies.FOLDER, one["xml_file"])
    assert file.read_bytes() == FILE and file.is_relative_to(tmp_path) and [each.name for each in file.parent.iterdir()] == [file.name]
    before = file.stat().st_mtime_ns
    assert bodies.written(FILE) == one != bodies.written(FILE + b" ") and file.stat().st_mtime_ns == before


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"^cannot write .*: Not a directory; XDG_CACHE_HOME may name another folder"):
        bodies.written(FILE)


def test_members_have_physics_of_their_own_in_one_pool():
    benchmark, actions = of("HalfCheetah-v4", "friction=0.1..10", "gravity=1;0.5", tasks=3, draw="uniform"), boxes(30, 4, 6)
    drawn = [benchmark.physics(7, member, 1).factors for member in (0, 1)]
    for member, factors in enumerate(drawn):
        assert factors == {"friction": np.random.default_rng(derive(7, member, "set", "friction", 1)).uniform(0.1, 10), "gravity": 0.5}
    together = moved(benchmark, actions, 1)
    for member, factors in enumerate(drawn):
        alone = of("HalfCheetah-v4", *(f"{name}={factor!r}" for name, factor in factors.items()))
        own = slice(2 * member, 2 * member + 2)
        pool = alone.pool(alone.visits()[0], SEEDS[member : member + 1], 1, 0)
        np.testing.assert_array_equal(play(pool, actions[:, own]).observations, together.observations[:, own])
    assert_same(moved(benchmark, actions, 1), together)


def test_fingerprints_and_alikeness():
    plain = of("HalfCheetah-v4", "mass=0.5..2", tasks=3)
    changed = [of("HalfCheetah-v4", "mass=0.5..2", tasks=3, draw="uniform"), of("HalfCheetah-v4", "mass=0.5..3", tasks=3)]
    changed += [of("HalfCheetah-v4", "mass=0.5..2", "fault", tasks=3), of("Ant-v4", "mass=0.5..2", tasks=3)]
    prints = [plain.fingerprint(0, 2), plain.fingerprint(1, 2), plain.fingerprint(0, 3), *(each.fingerprint(0, 2) for each in changed)]
    assert len(set(prints)) == len(prints)
    assert plain.tasks_alike and all(each.tasks_alike for each in changed)
    unlike = [of("HalfCheetah-v4", "mass=1;2", tasks=2), of("HalfCheetah-v4", "mass=1..2", tasks=2, cycles=2)]
    assert not any(each.tasks_alike for each in [*unlike, of("HalfCheetah-v4", "mass=1..2", shifts=("offset",), tasks=2)])


def test_the_slippery_ant_is_that_of_the_paper():
    """Dohare et al. 2024, Methods: Ant-v3, coefficients of friction log-uniform in [0.02, 2], changed every 2 million steps."""
    ant = SlipperyAnt()
    assert (ant.observation_space, ant.action_space) == (Box((111,)), Box((8,), low=-1, high=1)) and ant.tasks_alike
    assert [(visit.budget, visit.told) for visit in ant.visits()] == [(2_000_000, False)] * 10
    drawn = np.array([[ant.physics(0, member, task).factors["friction"] for task in range(10)] for member in range(200)])
    assert 0.02 < drawn.min() < 0.0205 and 1.95 < drawn.max() < 2
    np.testing.assert_allclose(np.quantile(np.log10(drawn), [0.25, 0.5, 0.75]), np.log10(0.02) + np.array([0.5, 1, 1.5]), atol=0.06)
    assert len(np.unique(drawn)) == 2000
    geom = ElementTree.fromstring(bodies.changed(bodies.packaged(*_where("Ant-v3")), {"friction": 0.02})).find("default/geom")
    assert geom.get("friction") == "0.02 0.5 0.5"
    assert not moved(ant, boxes(60, 4, 8)).observations[..., 27:].any()  # MuJoCo computes no contact forces


def _where(env_id: str) -> tuple[str, str]:
    import envpool

    config = envpool.make_spec(env_id).config
    return config.base_path, config.xml_file
