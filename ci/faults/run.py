"""Runs the scenarios of bad days. See ci/faults.sh."""

import argparse
import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Spans of one scenario and their rate: three seconds of it. Of 538 bytes each, so that the default buffer holds those of
# the longest fault, and nothing has to be dropped.
SPANS, RATE = 24_000, 8_000
# A scenario with everything that comes after it: retries, the flush, the end.
LOAD_LIMIT_S = 90
# Peak memory of the load: the buffer of 16 MiB, and the program.
RSS_MB_MAX = 64
# At least as long as the answers of the sink; a cut beyond the end cuts nothing.
ANSWER_BYTES = 96
# Loads that run side by side, each with one cut.
AT_ONCE = 12
# When a fault begins: some requests have gone well by then.
BEGIN_S = 0.7


class Failed(Exception):
    """The scenario did not keep what spanwire promises."""


class World:
    """What a scenario works with: one driver and protocol, and a folder of its own."""

    def __init__(self, spanwire, driver, protocol, folder, is_long):
        self.spanwire, self.driver, self.protocol, self.is_long = spanwire, driver, protocol, is_long
        self.folder = Path(folder)
        self.received = []
        self.prefix = []
        self.environment = {"SPANWIRE_IO": driver, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}

    @contextlib.asynccontextmanager
    async def sink(self, listen="127.0.0.1:0", prefix=()):
        """A collector in a process of its own; its ids are kept at its end."""
        ids = self.folder / f"sink-{len(self.received)}.ids"
        self.received.append(ids)
        command = [*prefix, self.spanwire, "sink", "--listen", listen, "--ids", str(ids)]
        process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        url = (await process.stdout.readline()).decode().strip()
        if not url:
            raise Failed(f"no sink at {listen}")
        process.port = int(url.rpartition(":")[2])
        try:
            yield process
        finally:
            await end(process)

    async def load(self, endpoint, spans=SPANS, rate=RATE, during=None, **environment):
        """Exports to `endpoint` while `during` happens; returns the report."""
        command = [*self.prefix, self.spanwire, "load", "--json", "--spans", str(spans), "--endpoint", endpoint]
        command += ["--ids", str(self.folder / "emitted.ids")] + (["--rate", str(rate)] if rate else [])
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **self.environment, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        happening = asyncio.create_task(during()) if during else None
        try:
            out, self.said = await asyncio.wait_for(process.communicate(), LOAD_LIMIT_S)
        except TimeoutError:
            process.kill()
            raise Failed(f"not done after {LOAD_LIMIT_S} s") from None
        if happening:
            await happening
        lines = out.decode().splitlines()
        if not lines or not lines[-1].startswith("{"):
            raise Failed(f"no report: {self.said.decode()[-2000:]}")
        return json.loads(lines[-1])

    @contextlib.asynccontextmanager
    async def proxy(self, port, fault="pass"):
        """`spanwire proxy` before a port."""
        command = [self.spanwire, "proxy", "--to", f"127.0.0.1:{port}", "--fault", fault]
        process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        proxy = Proxy(process, (await process.stdout.readline()).decode().strip())
        try:
            yield proxy
        finally:
            process.stdin.close()
            await process.wait()

    def check(self, report, may_drop=False, may_lie=False):
        """The accounting law, with what was emitted and received by unique id as the oracle."""
        emitted = read_ids(self.folder / "emitted.ids")
        received = set().union(*(read_ids(path) for path in self.received if path.exists()))
        counted = report["delivered"] + report["rejected"] + report["dropped"]
        problems = []
        if report["emitted"] != len(emitted):
            problems.append(f"{report['emitted']} emitted, but {len(emitted)} ids")
        if counted != len(emitted):
            problems.append(f"{len(emitted)} emitted, but {counted} have a fate")
        if not received <= emitted:
            problems.append(f"{len(received - emitted)} received that were never emitted")
        # A peer that answers 200 to what it threw away cannot be found out.
        if len(received) < report["delivered"] and not may_lie:
            problems.append(f"{report['delivered']} delivered, but {len(received)} received")
        if not may_drop and report["delivered"] != len(emitted):
            problems.append(f"{len(emitted) - report['delivered']} were not delivered although the bad day has ended")
        if report["rss_mb"] > RSS_MB_MAX:
            problems.append(f"{report['rss_mb']} MB of memory, more than {RSS_MB_MAX}")
        if report["driver"] != self.driver:
            problems.append(f"{report['driver']} was used")
        if problems:
            raise Failed("; ".join(problems) + f"\n{self.said.decode()[-2000:]}")
        return report


def read_ids(path):
    return set(path.read_text().split())


async def end(process):
    if process.returncode is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
    await process.wait()


class Proxy:
    """What stands between, in a process of its own; `bench/src/faults` says which faults there are."""

    def __init__(self, process, address):
        self.process, self.url = process, f"http://{address}"

    async def set(self, fault):
        self.process.stdin.write(f"{fault}\n".encode())
        await self.process.stdin.drain()
        await self.process.stdout.readline()


async def proxied(world, *faults, may_drop=False, may_lie=False, **environment):
    """A load through a proxy whose faults are (seconds, fault), one after the other; then nothing is wrong."""
    async with world.sink() as sink, world.proxy(sink.port) as proxy:

        async def during():
            for seconds, fault in faults:
                await asyncio.sleep(BEGIN_S)
                await proxy.set(fault)
                await asyncio.sleep(seconds)
                await proxy.set("pass")

        report = await world.load(proxy.url, during=during, **environment)
    return world.check(report, may_drop, may_lie)


async def quiet(world):
    """no fault: what the others are compared with"""
    return await proxied(world)


async def latency_20(world):
    """a round trip takes 20 ms more"""
    return await proxied(world, (2, "latency 20ms"))


async def latency_200(world):
    """a round trip takes 200 ms more"""
    return await proxied(world, (2, "latency 200ms"))


async def stall(world):
    """nothing moves for a second, twice; an attempt has half a second"""
    return await proxied(world, (1, "stall"), (1, "stall"), OTEL_EXPORTER_OTLP_TIMEOUT="500")


async def blackhole(world):
    """what is sent disappears for a second, and its connections stay half open"""
    return await proxied(world, (1, "blackhole"), OTEL_EXPORTER_OTLP_TIMEOUT="500")


async def slow_reader(world):
    """the collector reads 2 MB a second of each connection"""
    return await proxied(world, (2, "slow 2000000"))


async def refused(world):
    """connections are reset as soon as they are there, ten times"""
    return await proxied(world, *[(0.1, "refuse")] * 3)


async def throttled(world):
    """503 with a Retry-After of a second"""
    return await proxied(world, (0.5, "answer 503 retry-after 1"))


async def endless_answers(world):
    """successes whose bodies do not end"""
    return await proxied(world, (0.5, "endless"), may_lie=True)


async def header_bombs(world):
    """answers whose heads do not end: final, and what was sent is counted"""
    return await proxied(world, (0.5, "header-bomb"), may_drop=True)


async def garbage(world):
    """answers that are no HTTP: final, and what was sent is counted"""
    return await proxied(world, (0.5, "garbage"), may_drop=True)


async def reset_at_every_byte(world):
    """a reset after the first byte of an answer, after the second, and so on to its end"""
    worst = None
    async with world.sink() as sink:
        for first in range(0, ANSWER_BYTES, AT_ONCE):
            cuts = range(first, min(first + AT_ONCE, ANSWER_BYTES))
            reports = await asyncio.gather(*(cut_once(world, sink.port, cut) for cut in cuts))
            worst = max([*reports, worst or reports[0]], key=lambda report: report["on_end_ns"]["p999"])
    received = read_ids(world.received[0])
    missing = [str(folder) for folder in world.folder.glob("cut-*") if not read_ids(folder / "emitted.ids") <= received]
    if missing:
        raise Failed(f"not received: {missing}")
    return worst


async def cut_once(world, port, cut):
    folder = world.folder / f"cut-{cut}"
    folder.mkdir()
    one = World(world.spanwire, world.driver, world.protocol, folder, world.is_long)
    async with world.proxy(port, f"reset {cut}") as proxy:

        async def during():
            # The first attempt meets it, and the pause after that is longer.
            await asyncio.sleep(0.2)
            await proxy.set("pass")

        report = await one.load(proxy.url, spans=10, rate=None, during=during)
    if report["delivered"] != 10:
        raise Failed(f"cut after {cut} bytes: {report}")
    return report


async def killed(world):
    """the collector ends and is started again, many times"""
    times = 50 if world.is_long else 10
    async with contextlib.AsyncExitStack() as stack:
        sink = await stack.enter_async_context(world.sink())
        port = sink.port

        async def during():
            nonlocal sink
            for _ in range(times):
                await asyncio.sleep(0.15)
                # Its ids are written at its end; its connections are cut in the middle all the same.
                await end(sink)
                await asyncio.sleep(0.05)
                sink = await stack.enter_async_context(world.sink(f"127.0.0.1:{port}"))

        spans = max(SPANS, RATE * times // 4)
        report = await world.load(f"http://127.0.0.1:{port}", spans=spans, during=during)
    return world.check(report)


async def stopped(world):
    """the collector is stopped like by a debugger, for longer than an attempt may take"""
    seconds = 60 if world.is_long else 5

    async with world.sink() as sink:

        async def during():
            await asyncio.sleep(BEGIN_S)
            sink.send_signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            sink.send_signal(signal.SIGCONT)

        report = await world.load(
            f"http://127.0.0.1:{sink.port}", during=during, rate=RATE // 10, spans=RATE // 10 * (seconds + 2), OTEL_EXPORTER_OTLP_TIMEOUT="1000"
        )
    return world.check(report)


async def moved(world):
    """the collector's name leads to another address than before"""
    need_root()
    hosts = world.folder / "hosts"
    hosts.write_text("127.0.0.2 collector.test\n")
    world.prefix = ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "load"]
    async with world.sink("127.0.0.2:0") as old, world.sink(f"127.0.0.3:{old.port}"):

        async def during():
            await asyncio.sleep(BEGIN_S)
            # In place, because it is mounted.
            with hosts.open("r+") as file:
                file.write("127.0.0.3 collector.test\n")
            await end(old)

        report = await world.load(f"http://collector.test:{old.port}", during=during)
    if not read_ids(world.received[1]):
        raise Failed("nothing arrived at the new address")
    return world.check(report)


async def expired(world):
    """the collector's certificate has expired, until it is replaced"""
    make_certificates(world.folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    use_certificate(context, world.folder, "expired")
    async with world.sink() as sink, tls_relay(context, sink.port) as port:

        async def during():
            await asyncio.sleep(BEGIN_S + 1)
            use_certificate(context, world.folder, "valid")

        report = await world.load(
            f"https://localhost:{port}", during=during, OTEL_EXPORTER_OTLP_CERTIFICATE=str(world.folder / "ca.pem")
        )
    if b"expired" not in world.said:
        raise Failed(f"nobody was told that a certificate has expired: {world.said.decode()[-500:]}")
    return world.check(report)


def make_certificates(folder):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl = functools.partial(subprocess.run, cwd=folder, check=True, capture_output=True)
    authority = ["-days", "2", "-subj", "/CN=faults authority", "-addext", "basicConstraints=critical,CA:TRUE"]
    openssl(["openssl", "req", "-x509", *key, *authority, "-keyout", "ca.key", "-out", "ca.pem"])
    (folder / "names").write_text("basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n")
    for name, days in (("expired", "-1"), ("valid", "2")):
        openssl(["openssl", "req", *key, "-subj", "/CN=localhost", "-keyout", f"{name}.key", "-out", f"{name}.csr"])
        by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days, "-extfile", "names"]
        openssl(["openssl", "x509", "-req", "-in", f"{name}.csr", *by, "-out", f"{name}.pem"])


def use_certificate(context, folder, name):
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")


@contextlib.asynccontextmanager
async def tls_relay(context, to):
    """OpenSSL before a port that speaks in clear."""

    async def pump(reader, writer):
        with contextlib.suppress(OSError):
            while piece := await reader.read(64 << 10):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(pump(reader, upstream), pump(upstream_reader, writer))

    server = await asyncio.start_server(serve, "localhost", 0, ssl=context, family=socket.AF_INET)
    # What a refused handshake says is said by the client already.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def half_open(world):
    """the network between swallows everything for three seconds, and says nothing"""
    need_root()
    with namespace() as (inside, ours, theirs):
        async with world.sink(f"{theirs}:4318", ["ip", "netns", "exec", inside]) as sink:

            async def during():
                await asyncio.sleep(BEGIN_S)
                # Packets go to a card that is not there.
                lost = ["dev", f"{inside}-0", "nud", "permanent", "lladdr", "02:00:00:00:00:99"]
                ip("neigh", "replace", theirs, *lost)
                await asyncio.sleep(3)
                ip("neigh", "del", theirs, "dev", f"{inside}-0")

            report = await world.load(f"http://{theirs}:{sink.port}", during=during, OTEL_EXPORTER_OTLP_TIMEOUT="1000")
    return world.check(report)


def need_root():
    if os.geteuid() != 0:
        raise PermissionError("it needs root")


@contextlib.contextmanager
def namespace():
    """A network namespace behind a pair of cards: its name, our address, its address."""
    inside = f"spw{os.getpid() % 10000}"
    ours, theirs = "10.213.77.1", "10.213.77.2"
    ip("netns", "add", inside)
    try:
        ip("link", "add", f"{inside}-0", "type", "veth", "peer", "name", f"{inside}-1")
        ip("link", "set", f"{inside}-1", "netns", inside)
        ip("addr", "add", f"{ours}/24", "dev", f"{inside}-0")
        ip("link", "set", f"{inside}-0", "up")
        ip("-n", inside, "addr", "add", f"{theirs}/24", "dev", f"{inside}-1")
        ip("-n", inside, "link", "set", f"{inside}-1", "up")
        ip("-n", inside, "link", "set", "lo", "up")
        yield inside, ours, theirs
    finally:
        ip("netns", "del", inside)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


SCENARIOS = [
    quiet,
    latency_20,
    latency_200,
    stall,
    blackhole,
    slow_reader,
    refused,
    throttled,
    endless_answers,
    header_bombs,
    garbage,
    reset_at_every_byte,
    killed,
    stopped,
    moved,
    half_open,
    expired,
]
# Whose answers are HTTP/1.1's, or are cut at a byte of it.
HTTP_ONLY = [throttled, endless_answers, header_bombs, garbage, reset_at_every_byte]


async def run_one(scenario, spanwire, driver, protocol, is_long):
    with tempfile.TemporaryDirectory(prefix="spanwire-faults-") as folder:
        return await scenario(World(spanwire, driver, protocol, folder, is_long))


def drivers():
    has_uring = subprocess.run(["ci/has_uring.py"], check=False).returncode == 0
    if not has_uring:
        print("faults: io_uring is not available here, so only epoll is tried")
    return ["uring", "epoll"] if has_uring else ["epoll"]


def main():
    parser = argparse.ArgumentParser(prog="ci/faults.sh")
    parser.add_argument("--spanwire", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("scenario", nargs="*")
    options = parser.parse_args()
    chosen = [one for one in SCENARIOS if not options.scenario or one.__name__ in options.scenario]
    if options.list:
        for one in SCENARIOS:
            print(f"{one.__name__:<20} {one.__doc__}")
        return
    failures = 0
    for driver in drivers():
        for one in chosen:
            failures += not told(one, options, driver, "http/protobuf")
        for one in chosen:
            if one not in HTTP_ONLY:
                failures += not told(one, options, driver, "grpc")
    sys.exit(failures > 0)


def told(scenario, options, driver, protocol):
    """Runs and prints one; whether it kept its promises."""
    started, name = time.monotonic(), f"{driver} {protocol.partition('/')[0]} {scenario.__name__}"
    try:
        report = asyncio.run(run_one(scenario, options.spanwire, driver, protocol, options.long))
    except PermissionError as why:
        print(f"faults: {name:<31} not run: {why}", flush=True)
        return not os.environ.get("CI")
    except Failed as why:
        print(f"faults: {name:<31} FAILED: {why}", flush=True)
        return False
    end_ns = report["on_end_ns"]
    print(
        f"faults: {name:<31} ok in {time.monotonic() - started:4.1f} s: {report['emitted']} emitted, {report['delivered']} delivered, "
        f"{report['dropped']} dropped; {report['rss_mb']} MB; ending a span p50 {end_ns['p50']} ns, p99.9 {end_ns['p999']} ns",
        flush=True,
    )
    return True


if __name__ == "__main__":
    main()
