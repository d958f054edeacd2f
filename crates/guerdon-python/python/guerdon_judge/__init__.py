"""The judge plugin `guerdon-judge` of verifiers, which looks for a module of that name: see `guerdon.verifiers`."""

from guerdon.verifiers import GuerdonJudge

__all__ = ["GuerdonJudge"]
