#!/usr/bin/env python3
"""A VPN server that asks by CHAP or MS-CHAPv2, and believes nothing that it did not reckon itself. Prints JSON.

mschap_client.py ADDRESS PORT SECRET '{"user": "alice", "password": "x", "protocol": "mschapv2", "new_password": "y"}'

With `users`, a list, in place of `user` nobody is asked: it prints a packet for each, in hexadecimal.

The packets are pyrad's, the arithmetic of MS-CHAPv2 and its keys is py3mschap's with the hashes and ciphers of impacket, and a new
password is wrapped by impacket as it does it for SAMR, whose blobs are those of RFC 2759.
"""

import hashlib
import json
import os
import socket
import struct
import sys

from Cryptodome.Hash import MD4
from impacket import ntlm
from impacket.dcerpc.v5 import samr
from py3mschap import mppe, mschap
from pyrad import packet
from pyrad.dictionary import Dictionary

MICROSOFT = 311
CHAP_PASSWORD, CHAP_CHALLENGE, VENDOR_SPECIFIC, REPLY_MESSAGE, USER_NAME, MESSAGE_AUTHENTICATOR = 3, 60, 26, 18, 1, 80
IDENTIFIER = 77


def octets(text):
    return text.encode("latin1") if isinstance(text, str) else text


# The MD4 and the DES of py3mschap are not for this Python.
mschap.nt_password_hash = ntlm.compute_nthash
mschap.hash_nt_password_hash = lambda of: MD4.new(octets(of)).digest()
mschap.challenge_response = lambda challenge, of: ntlm.ntlmssp_DES_encrypt(of, challenge)


def vendor(kind, value):
    return struct.pack("!LBB", MICROSOFT, kind, len(value) + 2) + value


class Captured:
    """In place of a connection to a domain controller."""

    def request(self, request):
        self.asked = request


def change_of(old, new):
    """The new password under the old hash, and the old hash under the new one."""
    captured = Captured()
    samr.hSamrUnicodeChangePasswordUser2(captured, oldPassword=old, newPassword=new)
    return (
        bytes(captured.asked["NewPasswordEncryptedWithOldNt"]["Buffer"]),
        bytes(captured.asked["OldNtOwfPasswordEncryptedWithNewNt"]),
    )


def reveal(hidden, secret, authenticator):
    """A salted attribute (RFC 2548 section 2.4.2)."""
    salt, hidden = hidden[:2], hidden[2:]
    clear, before = b"", authenticator + salt
    for at in range(0, len(hidden), 16):
        pad = hashlib.md5(secret + before).digest()
        clear += bytes(a ^ b for a, b in zip(hidden[at : at + 16], pad))
        before = hidden[at : at + 16]
    return clear[1 : 1 + clear[0]]


def build(asked, secret):
    """A request, and what its reply is held against."""
    user, password = asked["user"], asked["password"]
    folder = os.path.dirname(os.path.abspath(__file__))
    request = packet.AuthPacket(
        code=packet.AccessRequest, id=asked.get("id", 7), secret=secret, dict=Dictionary(os.path.join(folder, "dictionary"))
    )
    request.authenticator = packet.AuthPacket.CreateAuthenticator()
    request.AddAttribute("User-Name", user)
    if "station" in asked:
        request.AddAttribute("Calling-Station-Id", asked["station"])
    name = user.split("\\")[-1]
    challenge, peer = os.urandom(16), os.urandom(16)
    proved = asked.get("new_password", password)
    if asked["protocol"] == "chap":
        response = hashlib.md5(bytes([IDENTIFIER]) + password.encode() + challenge).digest()
        request[CHAP_PASSWORD] = [bytes([IDENTIFIER]) + response]
        request[CHAP_CHALLENGE] = [challenge]
    else:
        response = mschap.generate_nt_response_mschap2(challenge, peer, name, proved)
        values = [vendor(11, challenge)]
        if "new_password" in asked:
            wrapped, old_hash = change_of(password, proved)
            flags = b"\0\0"
            values.append(vendor(27, bytes([7, IDENTIFIER]) + old_hash + peer + bytes(8) + response + flags))
            for number, at in enumerate(range(0, len(wrapped), 240), 1):
                values.append(vendor(6, struct.pack("!BBH", 6, IDENTIFIER, number) + wrapped[at : at + 240]))
        else:
            values.append(vendor(25, bytes([IDENTIFIER, 0]) + peer + bytes(8) + response))
        request[VENDOR_SPECIFIC] = values
    request.add_message_authenticator()
    return request, name, challenge, peer, proved, response


def main():
    address, port, secret, asked = sys.argv[1:5]
    asked, secret = json.loads(asked), secret.encode()
    if "users" in asked:
        # Only made: whoever asks sends them all at once.
        packets = [build({**asked, "user": user}, secret)[0].RequestPacket().hex() for user in asked["users"]]
        print(json.dumps(packets))
        return
    request, name, challenge, peer, proved, response = build(asked, secret)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.settimeout(asked.get("patience", 10))
    server.sendto(request.RequestPacket(), (address, int(port)))
    reply = request.CreateReply(packet=server.recv(4096))
    if not request.VerifyReply(reply, reply.raw_packet):
        sys.exit("the Response Authenticator is wrong")
    if not reply.verify_message_authenticator(original_authenticator=request.authenticator):
        sys.exit("the Message-Authenticator is wrong")

    told = {"code": reply.code, "message": b"".join(reply.get(REPLY_MESSAGE, [])).decode()}
    found = {}
    at = 20
    while at < len(reply.raw_packet):
        kind, length = reply.raw_packet[at], reply.raw_packet[at + 1]
        value = reply.raw_packet[at + 2 : at + length]
        if kind == VENDOR_SPECIFIC and struct.unpack("!L", value[:4])[0] == MICROSOFT:
            found[value[4]] = value[6:]
        at += length
    if 2 in found:
        told["error"] = {"identifier": found[2][0], "text": found[2][1:].decode()}
    if 26 in found:
        wanted = mschap.generate_authenticator_response(proved, response, peer, challenge, name)
        # It reckons with an identifier of its own.
        wanted = wanted[1:].upper()
        told["identifier"] = found[26][0]
        told["success"] = found[26][1:].decode() == wanted
    if 16 in found:
        twice = mschap.hash_nt_password_hash(mschap.nt_password_hash(proved))
        master = mppe.get_master_key(twice, response)
        keys = [mppe.get_asymetric_start_key(master, 16, send, True) for send in (True, False)]
        told["keys"] = [reveal(found[kind], secret, request.authenticator) == key for kind, key in zip((16, 17), keys)]
        told["salts"] = found[16][:2] != found[17][:2] and found[16][0] & 0x80 != 0 and found[17][0] & 0x80 != 0
        told["encryption"] = [int.from_bytes(found[kind], "big") for kind in (7, 8)]
    print(json.dumps(told))


main()
