"""Scenarios as files: what is right is read, what is wrong is told with its place, what is written reads back."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings

from rtcmesh.netem.faults import Cut, Impair, SwitchUplink
from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.models.loss import LossPattern
from rtcmesh.netem.models.rate_trace import RateStep, RateSteps
from rtcmesh.netem.scenario.errors import ExtraMissing
from rtcmesh.netem.scenario.reading import load_scenario, read_scenario
from rtcmesh.netem.scenario.words import Event, Exits, Program, Scenario
from rtcmesh.netem.scenario.writing import write_scenario
from rtcmesh.netem.topology import NATS, Dependence, Uplink
from rtcmesh.netem.typed_toml import DocumentInvalid
from support.scenarios import scenarios

PROFILES = {
    "lte": Uplink(
        up=LinkConfig(delay=0.035, loss=0.01), down=LinkConfig(delay=0.035, rate_bytes_per_second=1.5e6)
    )
}

GOOD = """\
title = "Two tunnels"

[gateways.home]
nat = "symmetric"

[hosts.ann]
behind = "home"
both = { delay = 0.01 }
up = { loss = 0.5 }

[hosts.bob]
uplinks = [
  { to = "home" },
  { profile = "lte", down = { rate_bytes_per_second = "none" } },
]

[programs.server]
host = "bob"
run = "udp_echo:serve"
background = true

[programs.client]
host = "ann"
command = ["udp-client", "--to"]
arguments = ["{bob}:7000"]
after = ["server"]

[[events]]
at = 3.5
do = "cut"
node = "bob"
lasting = 1
every = 8
times = 2

[[events]]
at = 9
do = "impair"
node = "ann"
up = { loss = 0.9 }

[[expect]]
that = "exits"
program = "client"
"""


def read(text: str) -> Scenario:
    return read_scenario(text, "tunnel.toml", PROFILES)


def test_a_scenario_says_everything_once() -> None:
    scenario = read(GOOD)
    home, ann, bob = (
        scenario.topology.gateways[0],
        scenario.topology.host("ann"),
        scenario.topology.host("bob"),
    )
    assert home.nat == NATS["symmetric"]
    assert ann.uplinks == (
        Uplink(to="home", up=LinkConfig(delay=0.01, loss=0.5), down=LinkConfig(delay=0.01)),
    )
    assert bob.uplinks == (
        Uplink(to="home"),
        Uplink(up=LinkConfig(delay=0.035, loss=0.01), down=LinkConfig(delay=0.035)),
    )
    assert scenario.programs["client"] == Program(
        host="ann", command=("udp-client", "--to"), arguments=("{bob}:7000",), after=("server",)
    )
    assert scenario.events == (
        Event(at=3.5, fault=Cut(node="bob"), every=8, times=2, lasting=1),
        Event(at=9, fault=Impair(node="ann", up=LinkConfig(delay=0.01, loss=0.9))),
    )
    assert scenario.expectations == (Exits(program="client"),)


def test_a_gateway_can_be_described_in_the_terms_of_its_rfc() -> None:
    described = GOOD.replace(
        'nat = "symmetric"', 'nat = { mapping = "address-dependent", udp_lifetime = 30 }'
    )
    nat = read(described).topology.gateways[0].nat
    assert (nat.mapping, nat.udp_lifetime) == (Dependence.ADDRESS_DEPENDENT, 30.0)


def test_an_event_can_switch_to_a_profile() -> None:
    switched = GOOD.replace(
        'do = "impair"\nnode = "ann"\nup', 'do = "impair"\nnode = "ann"\nprofile = "lte"\nup'
    )
    up, down = LinkConfig(delay=0.035, loss=0.9), PROFILES["lte"].down
    assert read(switched).events[1].fault == Impair(node="ann", up=up, down=down)
    uplink = GOOD.replace(
        'do = "impair"\nnode = "ann"\nup = { loss = 0.9 }', 'do="switch-uplink"\nnode="bob"\nto="internet"'
    )
    assert read(uplink).events[1].fault == SwitchUplink(node="bob", to="internet")


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("title =", "titel =", "1: titel: there is no such key here; did you mean 'title'?"),
        ('title = "Two tunnels"', "", "1: the key 'title' is missing"),
        ('"symmetric"', '"symetric"', "4: gateways.home.nat: 'symetric' is no kind of NAT; did you mean 'symmetric'?"),
        ('nat = "symmetric"', "nat = { maping = 1 }", "4: gateways.home.nat.maping: there is no such key here; did "),
        ('behind = "home"', 'behind = "hoem"', "7: hosts.ann.behind: 'hoem' is no gateway that 'ann' could be behind;"),
        ('behind = "home"', 'behnd = "home"', "7: hosts.ann.behnd: there is no such key here; did you mean 'behind'?"),
        ("{ delay = 0.01 }", "{ dealy = 1 }", "8: hosts.ann.both.dealy: there is no such key here; did you mean 'de"),
        ("{ loss = 0.5 }", "{ loss = 5 }", "9: hosts.ann.up.loss: loss is a probability, from 0 to 1, not 5"),
        ("{ loss = 0.5 }", '{ loss = "5 %" }', "9: hosts.ann.up.loss: "),
        ('{ to = "home" }', '{ to = "work" }', "13: hosts.bob.uplinks[1].to: 'work' is no gateway that 'bob'"),
        ('profile = "lte"', 'profile = "let"', "14: hosts.bob.uplinks[2].profile: 'let' is no profile; did you mean"),
        ("uplinks = [", 'profile = "lte"\nuplinks = [', "11: hosts.bob: what its uplinks are like is said in `uplin"),
        ('{ to = "home" },', "{ },", "11: hosts.bob: two uplinks of the host 'bob' lead to the same place"),
        ('nat = "symmetric"', 'behind = "home"', "3: gateways.home: gateways stand behind each other in a ring: home"),
        ("[hosts.ann]", "[hosts.internet]", "6: hosts.internet: no node may be called 'internet'"),
        ('host = "ann"', 'host = "nan"', "23: programs.client.host: 'nan' is no host; did you mean 'ann'?"),
        ("{bob}", "{bobby}", "25: programs.client.arguments[1]: 'bobby' is no host; did you mean 'bob'?"),
        ('after = ["server"]', 'after = ["serve"]', "26: programs.client.after[1]: 'serve' is no program; did you m"),
        ('after = ["server"]', 'after = ["client"]', "26: programs.client.after: these wait for each other: client"),
        ('run = "udp_echo:serve"', 'run = "udp_echo"', "19: programs.server.run: run must be like `module:coroutine`"),
        ('run = "udp_echo:serve"', "", "17: programs.server: a program has either `run` or `command`"),
        ('do = "cut"', 'do = "cutt"', "30: events[1].do: 'cutt' is no fault; did you mean 'cut'?"),
        ('do = "cut"', "", "28: events[1]: the key 'do' is missing"),
        ('do = "cut"', 'do = ["cut"]', "30: events[1].do: ['cut'] is no fault; did you mean 'cut'?"),
        ('that = "exits"', 'that = ["exits"]', "43: expect[1].that: ['exits'] is no word for 'that'; "),
        ("[[expect]]", f"x = {'[' * 3000}{']' * 3000}\n[[expect]]", "1: something in it is nested too deeply"),
        ("up = { loss = 0.9 }", "", "36: events[2]: it says of no link what to do: give profile, both, up or down"),
        ("{ loss = 0.5 }", '{ queue = "coddel" }', "9: hosts.ann.up.queue: 'coddel' is no word for this; did you m"),
        ("{ loss = 0.5 }", '{ loss = "much" }', "9: hosts.ann.up.loss: Expected `float` or a table, got a string"),
        ("{ loss = 0.5 }", "{ rules = [{ probability = 2 }] }", "9: hosts.ann.up.rules[1].probability: probability is"),
        ('nat = "symmetric"', "nat = { udp_lifetime = nan }", "4: gateways.home.nat.udp_lifetime: udp_lifetime must"),
        ('do = "cut"\nnode = "bob"\nlasting = 1', 'do = "reboot"\nnode = "home"\nseconds = inf', "32: events[1].s"),
        ("{bob}:7000", "{bob:70000}", "25: programs.client.arguments[1]: no port has the number 70000"),
        ('that = "exits"', 'that = "silence"\nat_most = nan', "44: expect[1].at_most: at_most must be finite"),
        ('that = "exits"', 'that = "delivered"\nat_least = 5\nat_most = 1', "44: expect[1].at_least: at_least 5 is "),
        ('that = "exits"\nprogram = "client"', 'that = "packets"\nnode = "ann"\nfate = "lost"', "42: expect[1]: "),
        ("at = 3.5", "", "28: events[1]: the key 'at' is missing"),
        ("at = 3.5", "at = -1", "29: events[1].at: at must be a finite number of seconds, not -1"),
        ("at = 3.5", 'at = "3.5"', "29: events[1].at: "),
        ("every = 8", "evry = 8", "33: events[1].evry: there is no such key here; did you mean 'every'?"),
        ("every = 8\n", "", "28: events[1]: every is missing"),
        ("every = 8\ntimes = 2", "every = 1e-9", "28: events: event 1 makes more than 100,000 things happen"),
        ('do = "impair"', 'do = "rebind"', "40: events[2].up: there is no such key here; there are at"),
        ('do = "impair"\nnode = "ann"\nup', 'do = "rebind"\nnode = "ann"\n#', "39: events[2].node: 'ann' is no gate"),
        ('do = "cut"', 'do = "change-address"', "32: events[1].lasting: lasting has no meaning"),
        ('node = "bob"', 'node = "bbo"', "31: events[1].node: 'bbo' is no node; did you mean 'bob'?"),
        ('node = "bob"', 'noed = "bob"', "31: events[1].noed: there is no such key here; did you mean 'node'?"),
        ("up = { loss = 0.9 }", "up = { los = 0.9 }", "40: events[2].up.los: there is no such key here; did you mean"),
        ('that = "exits"', 'that = "exit"', "43: expect[1].that: 'exit' is no word for 'that'; did you mean 'exits'?"),
        ('program = "client"', 'program = "cleint"', "44: expect[1].program: 'cleint' is no program; did you mean"),
        ('"exits"\nprogram = "client"', '"packets"\nnode = "ann"\nfate = "los"\nat_least = 1', "45: expect[1].fate:"),
        ("[programs.server]", '[programs."../x"]', "17: programs.../x: a program's name has letters, digits"),
        ("title = ", 'profiles = ["village.toml"]\ntitle = ', "1: profiles[1]: [Errno 2] No such file or directory"),
        ("{ loss = 0.5 }", '{ rate_file = "x.csv" }', "9: hosts.ann.up.rate_file: [Errno 2] No such file or dire"),
        ("{ loss = 0.5 }", '{ loss_file = "x", loss = 1 }', "9: hosts.ann.up.loss_file: loss says something else"),
        ("{ loss = 0.5 }", "{ loss_file = 3 }", "9: hosts.ann.up.loss_file: must be the name of a file beside thi"),
        ("[[expect]]", "[[expct]]", "42: expct: there is no such key here; did you mean 'expect'?"),
        ("[[expect]]", "[[expect]", "42: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(right: str, wrong: str, complaint: str) -> None:
    assert right in GOOD
    with pytest.raises(DocumentInvalid) as raised:
        read(GOOD.replace(right, wrong, 1))
    assert str(raised.value).startswith(f"tunnel.toml:{complaint}")


@settings(max_examples=40)
@given(scenarios())
def test_what_is_written_reads_back(scenario: Scenario) -> None:
    text = write_scenario(scenario, comment="found by a property\nin two lines")
    assert text.startswith("# found by a property\n# in two lines\n")
    assert read_scenario(text, "written.toml", {}) == scenario


def test_a_file_that_is_no_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "tunnel.toml").write_bytes(b"title = 'x'\nduration = \xff")
    with pytest.raises(DocumentInvalid, match=r"tunnel.toml:2: this is not UTF-8"):
        load_scenario(tmp_path / "tunnel.toml", PROFILES)


def test_without_the_extra_writing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomli_w", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'rtcmesh\[netem\]'"):
        write_scenario(read(GOOD))


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "tunnel.toml"
    file.write_text(GOOD)
    assert load_scenario(file, PROFILES) == read(GOOD)


VILLAGE = """\
[sources]
survey = "A survey"
[village]
description = "DSL in a village"
one_way_ms = { value = 20, source = "survey" }
down.rate_kbit_per_second = { value = 6000, source = "survey" }
"""


def test_profiles_and_traces_are_found_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "village.toml").write_text(VILLAGE)
    (tmp_path / "morning.csv").write_text("at_seconds,kbit_per_second\n0,800\n1,80\n")
    (tmp_path / "losses").write_text("..x")
    file = tmp_path / "tunnel.toml"
    files = 'down = { rate_file = "morning.csv", loss_file = "losses" }'
    own = f'profiles = ["village.toml"]\n[hosts.eve]\nprofile = "village"\n{files}\n'
    file.write_text(GOOD.replace("\n\n[gateways", f"\n{own}[gateways", 1))
    scenario = load_scenario(file, PROFILES)
    (uplink,) = scenario.topology.host("eve").uplinks
    assert uplink.up == LinkConfig(delay=0.02)
    trace = RateSteps(steps=(RateStep(1.0, 100_000.0), RateStep(1.0, 10_000.0)))
    assert uplink.down == LinkConfig(delay=0.02, rate_trace=trace, loss=LossPattern(pattern="..x"))
    written = write_scenario(scenario)
    assert read_scenario(written, "elsewhere.toml", {}) == scenario  # without any other file
    (tmp_path / "losses").write_text("..?")
    with pytest.raises(DocumentInvalid, match=r"losses:1: '\?' is none of"):
        load_scenario(file, PROFILES)


def test_an_impairment_is_based_on_the_uplink_in_use() -> None:
    events = """\
[[events]]
at = 5
do = "switch-uplink"
node = "bob"
to = "internet"
[[events]]
at = 6
do = "impair"
node = "bob"
down = { loss = 0.9 }
"""
    impair = read(f"{GOOD}\n{events}").events[3].fault
    assert impair == Impair(node="bob", down=LinkConfig(delay=0.035, loss=0.9))
    assert read(f"{GOOD}\n{events.replace('at = 6', 'at = 4')}").events[3].fault == Impair(
        node="bob", down=LinkConfig(loss=0.9)
    )
