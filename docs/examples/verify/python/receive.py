"""Takes notifications of the gateway, and none that is not genuine:

    WEBHOOK_SECRET=whsec_… PORT=8080 python3 receive.py
"""

import base64
import hashlib
import hmac
import json
import os
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_BODY = 1 << 20
TOLERANCE = 300  # seconds


def read_secret(text):
    """The key of a secret as it is handed out."""
    prefix, _, encoded = text.partition("_")
    if prefix != "whsec" or len(encoded) < 32:  # 24 bytes in base64
        sys.exit("WEBHOOK_SECRET: no secret")
    return base64.b64decode(encoded, validate=True)


def is_genuine(key, headers, body):
    """Whether the gateway has sent this body, and just now.

    The body is the bytes as they came: the signature is over these, not over
    what they mean.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not message_id or not re.fullmatch("[0-9]{1,12}", timestamp):
        return False
    if abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    signed = f"{message_id}.{timestamp}.".encode() + body
    want = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    found = False
    for signature in signatures.split(" "):  # two while the secret is changed
        # In constant time.
        found |= hmac.compare_digest(want, signature.encode())
    return found


class Receiver(BaseHTTPRequestHandler):
    key = b""
    timeout = 10

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not re.fullmatch("[0-9]{1,7}", length) or int(length) > MAX_BODY:
            return self.answer(413)
        body = self.rfile.read(int(length))
        if not is_genuine(self.key, self.headers, body):
            return self.answer(401)
        notification = json.loads(body)
        # It is genuine. Store it under its webhook-id, which is unique, and
        # answer; work on it after that. One that is there already is a repeat:
        # 204 as well.
        request_id = json.dumps(notification["data"]["request_id"])
        print(self.headers["webhook-id"], notification["type"], request_id, flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()


if __name__ == "__main__":
    Receiver.key = read_secret(os.environ.get("WEBHOOK_SECRET", ""))
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Receiver).serve_forever()
