"""An episode: the policy speaks after the hotel's first price, and the scripted hotel answers."""

import verifiers.v1 as vf
from hotel_negotiation.partner import Partner
from hotel_negotiation.taskset import HotelTask


class HotelEnvConfig(vf.EnvConfig):
    """The policy's seat and the length of an episode."""

    agent: vf.AgentConfig = vf.AgentConfig(harness={"id": "null"}, runtime={"type": "subprocess"})
    """The policy, without tools. It runs no code, so it needs no sandbox."""
    max_replies: int = 6
    """The policy's turns, at most."""


class HotelEnv(vf.Env[HotelEnvConfig]):
    """A negotiation with a scripted hotel."""

    async def run(self, task: HotelTask, agents: vf.Agents) -> None:
        """Runs one negotiation, until the two agree or the turns are used up."""
        partner = Partner(task.data.list_price, task.data.floor_price)
        async with agents.agent.interaction(task) as talk:
            said = await talk.turn()
            for _ in range(self.config.max_replies - 1):
                if said.terminated:
                    break
                answer = partner.answer(said.last_reply)
                if partner.agreed is not None:
                    break
                said = await talk.turn(answer)
            talk.trace.record_metric("deal", float(partner.agreed is not None))
            if partner.agreed is not None:
                talk.trace.record_metric("paid_share", partner.agreed / partner.first)
