"""415: three tenants at once, call by call, against a model of an engine for each."""

from lib.model import Play
from lib.tenants import tenants


@tenants(415, "three tenants, random calls, the gateway restarted in between")
def model(j):
    play = Play(j.rig, j.rig.tier)
    j.case.expect(f"seed {play.seed}, {play.steps} steps", *play.run())
