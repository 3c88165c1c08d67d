"""Bodies of EnvPool's Gym-MuJoCo environments with other physics: copies of the packaged MJCF files, edited. Imports no torch.

Attributes are multiplied by factors where the file has them, or MuJoCo's defaults are where it does not
(https://mujoco.readthedocs.io/en/stable/XMLreference.html). A factor of 1 leaves every number as it is.
"""

import hashlib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element

from envs.supervised import cache
from plasticity_rl.checks import UsageError

FOLDER = "mujoco/assets_gym"  # below EnvPool's `base_path`


def packaged(base_path: str, xml_file: str) -> bytes | None:
    """The MJCF file that EnvPool loads for `xml_file`; None if it is no body of Gym-MuJoCo."""
    file = Path(base_path, FOLDER, f"{xml_file.removesuffix('.xml')}_envpool.xml")  # which EnvPool prefers to the file without the suffix
    return file.read_bytes() if file.is_file() else None


def written(body: bytes) -> dict[str, str]:
    """EnvPool's options for a body, whose file is written to the cache unless it is there. Raises UsageError if it cannot be."""
    base = cache.folder("bodies")
    file = base / FOLDER / f"{hashlib.sha256(body).hexdigest()[:24]}.xml"
    if not file.is_file():
        try:
            with cache.whole(file) as opened:
                opened.write(body)
        except OSError as error:
            raise UsageError(f"cannot write {file}: {error.strerror}; XDG_CACHE_HOME may name another folder for the cache") from error
    return {"base_path": str(base), "xml_file": file.name}


def motors(body: bytes) -> int:
    """Number of a body's actuators."""
    return len(_actuators(ElementTree.fromstring(body)))


def changed(body: bytes, factors: Mapping[str, float], broken: int | None = None) -> bytes:
    """A body with its physics multiplied by `factors`, named in FACTORS, and the motor number `broken` without force."""
    root = ElementTree.fromstring(body)
    for name, factor in factors.items():
        FACTORS[name](root, factor)
    if broken is not None:
        _actuators(root)[broken].set("gear", "0")
    return ElementTree.tostring(root)


def _friction(root: Element, factor: float) -> None:
    """Sliding friction of all geoms. MuJoCo takes the larger of two geoms' in contact, so the floor's alone would change little."""
    _default(root, "geom", "friction", "1 0.005 0.0001")
    _multiply(root, "geom", "friction", factor, first_only=True)


def _gravity(root: Element, factor: float) -> None:
    if not any("gravity" in option.attrib for option in root.iter("option")):
        _child(root, "option").set("gravity", "0 0 -9.81")
    _multiply(root, "option", "gravity", factor)


def _mass(root: Element, factor: float) -> None:
    """Masses and rotational inertias of all bodies, without the rotor inertia of joints (`armature`)."""
    _default(root, "geom", "density", "1000")
    for name in ("density", "mass"):
        _multiply(root, "geom", name, factor)
    for name in ("mass", "diaginertia", "fullinertia"):
        _multiply(root, "inertial", name, factor)
    _multiply(root, "compiler", "settotalmass", factor)


def _strength(root: Element, factor: float) -> None:
    """Force of all motors."""
    default = any("gear" in each.attrib for section in root.iter("default") for each in section)
    for motor in _actuators(root):
        if "gear" not in motor.attrib and not default:
            motor.set("gear", "1")
    for section in [*root.iter("default"), *root.iter("actuator")]:
        for each in section:
            _scale(each, "gear", factor)


def _stiffness(root: Element, factor: float) -> None:
    _multiply(root, "joint", "stiffness", factor)


def _damping(root: Element, factor: float) -> None:
    _multiply(root, "joint", "damping", factor)


FACTORS: dict[str, Callable[[Element, float], None]] = {
    "friction": _friction,
    "gravity": _gravity,
    "mass": _mass,
    "strength": _strength,
    "stiffness": _stiffness,
    "damping": _damping,
}


def _actuators(root: Element) -> list[Element]:
    return [each for section in root.iter("actuator") for each in section]


def _default(root: Element, tag: str, attribute: str, usual: str) -> None:
    """State MuJoCo's own default of an attribute in the file's main defaults, unless they give another."""
    element = _child(_child(root, "default"), tag)
    if attribute not in element.attrib:
        element.set(attribute, usual)


def _child(parent: Element, tag: str) -> Element:
    """The first child with a tag; made if there is none."""
    found = parent.find(tag)
    return ElementTree.SubElement(parent, tag) if found is None else found


def _multiply(root: Element, tag: str, attribute: str, factor: float, first_only: bool = False) -> None:
    for element in root.iter(tag):
        _scale(element, attribute, factor, first_only)


def _scale(element: Element, attribute: str, factor: float, first_only: bool = False) -> None:
    """Multiply the numbers of an attribute, or the first of them alone, if the element has it."""
    if attribute in element.attrib:
        numbers = element.attrib[attribute].split()
        changed = 1 if first_only else len(numbers)
        element.set(attribute, " ".join([*(repr(float(each) * factor) for each in numbers[:changed]), *numbers[changed:]]))
