"""What all pages of one process share: who may come in, what is live, the files, and the services behind."""

from __future__ import annotations

from taskmill import reasons
from taskmill.dashboard.assets import Assets
from taskmill.dashboard.rendering import environment
from taskmill.errors import AccessError, Code
from taskmill.services.access import Access, Client
from taskmill.services.catalog import CatalogService
from taskmill.services.dashboard.login import Links, Throttle
from taskmill.services.dashboard.names import Names
from taskmill.services.dashboard.overview import Overview
from taskmill.services.dashboard.panels import PanelService
from taskmill.services.dashboard.pulse import Pulse
from taskmill.services.dashboard.sessions import SessionService
from taskmill.services.dashboard.trends import Trends
from taskmill.services.failures import FailureService
from taskmill.services.keys import Principal
from taskmill.services.platform import Platform
from taskmill.services.queues.series import SeriesService
from taskmill.services.queues.stats import StatsService
from taskmill.services.schedules.service import ScheduleService


class Site:
    """One per application; handlers get it from `request.site_of`."""

    def __init__(self, platform: Platform, access: Access) -> None:
        self.platform = platform
        self.access = access
        self.sessions = SessionService(platform.database, platform.settings, access)
        self.links = Links(platform.clock)
        self.throttle = Throttle(platform.clock)
        self.pulse = Pulse(platform.database, platform.backlog)
        stats = StatsService(platform.database, platform.backlog, platform.workers)
        self.overview = Overview(stats, platform.queues)
        self.names = Names(platform.database)
        self.schedules = ScheduleService(platform.database, platform.submit)
        self.catalog = CatalogService(platform.database, platform.host)
        self.trends = Trends(SeriesService(platform.database))
        self.failures = FailureService(platform.database)
        self.panels = PanelService(platform.host, clock=platform.clock)
        self.assets = Assets.load()
        self.templates = environment(self.assets)

    async def by_link(self, token: str, client: Client) -> Principal:
        """Return who comes by a one-time link, which is used up then; AccessError UNAUTHORIZED."""
        if not self.links.take(token):
            raise AccessError(Code.UNAUTHORIZED, reason=reasons.LINK_USED)
        return await self.access.developer(client)
