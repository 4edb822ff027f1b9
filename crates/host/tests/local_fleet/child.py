"""A stand-in for the keeper's children: child.py STATE ROLE [ID].

The socket is descriptor 0, as for the real ones. A balancer answers each connection with its PID. An agent asks the
keeper who is in the fleet, and ends when it is told to; while STATE/broken exists it ends at once. All end when the
folder is gone.
"""
import json, os, socket, sys, time

state, role, name = sys.argv[1], sys.argv[2], sys.argv[3]
os.setsid()
listener = socket.socket(fileno=0)
listener.setblocking(True)


def members(since):
    with socket.socket(socket.AF_UNIX) as keeper:
        keeper.connect(state + "/run/keeper.sock")
        keeper.sendall(json.dumps({"ask": "members", "since": since}).encode() + b"\n")
        return json.loads(keeper.makefile().readline())["fleet"]["members"]


def told_to_end():
    since = 0
    while True:
        try:
            fleet = members(since)
        except (OSError, ValueError):
            fleet = json.load(open(state + "/run/fleet.json"))["members"]
            time.sleep(0.02)
        since = fleet["seq"]
        if name not in fleet["members"] or fleet["members"][name]["terminating"]:
            return


if role == "balancer":
    listener.settimeout(1)
    while os.path.exists(state):
        try:
            stream, _ = listener.accept()
        except TimeoutError:
            continue
        stream.sendall(b"%d\n" % os.getpid())
        stream.close()
    sys.exit(0)
if os.path.exists(state + "/broken"):
    sys.exit(3)
told_to_end()
