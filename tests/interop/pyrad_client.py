#!/usr/bin/env python3
"""Sends one Access-Request by pyrad and prints the reply as JSON.

pyrad_client.py ADDRESS PORT SECRET '{"User-Name": "alice", "User-Password": "x", "State": "00ff"}'

State and Proxy-State are given, and printed, in hexadecimal.
"""

import json
import os
import sys

from pyrad import packet
from pyrad.client import Client
from pyrad.dictionary import Dictionary

OCTETS = ("State", "Proxy-State", "Class")


def main():
    address, port, secret, request = sys.argv[1:5]
    folder = os.path.dirname(os.path.abspath(__file__))
    client = Client(
        server=address,
        authport=int(port),
        secret=secret.encode(),
        dict=Dictionary(os.path.join(folder, "dictionary")),
    )
    client.timeout = 5
    client.retries = 2
    asked = client.CreateAuthPacket(code=packet.AccessRequest)
    for name, values in json.loads(request).items():
        for value in values if isinstance(values, list) else [values]:
            if name == "User-Password":
                asked[name] = asked.PwCrypt(value)
            elif name in OCTETS:
                asked.AddAttribute(name, bytes.fromhex(value))
            else:
                asked.AddAttribute(name, value)
    asked.add_message_authenticator()
    # SendPacket drops replies whose Response Authenticator is wrong, as if none had come.
    reply = client.SendPacket(asked)
    attributes = {}
    for name in reply.keys():
        if isinstance(name, str) and name != "Message-Authenticator":
            attributes[name] = [v.hex() if isinstance(v, bytes) else v for v in reply[name]]
    signed = reply.verify_message_authenticator(original_authenticator=asked.authenticator)
    print(json.dumps({"code": reply.code, "verified": signed, "attributes": attributes}))


main()
