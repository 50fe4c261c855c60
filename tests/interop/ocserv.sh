#!/bin/bash
# A real VPN: ocserv, which asks RADIUS by way of radcli, and openconnect as its user. Each runs in a network namespace.
#
#   ocserv.sh serve FOLDER RADIUS_ADDRESS RADIUS_PORT SECRET_FILE     runs ocserv until it is killed
#   ocserv.sh connect FOLDER GATEWAY_ADDRESS USER                     runs openconnect; answers come on standard input
#
# radcli of Debian 12 sends no Message-Authenticator, so the RADIUS client entry for it needs
# require_message_authenticator = "no".
set -euo pipefail

serve() {
    local folder=$1 address=$2 port=$3 secret=$4
    cd "$folder"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=vpn.example.test \
        -addext subjectAltName=DNS:vpn.example.test 2>/dev/null
    cat > radcli.conf <<END
nas-identifier ocserv
authserver $address:$port
acctserver $address:$((port + 1))
servers $folder/servers
dictionary /etc/radcli/dictionary
default_realm
radius_timeout ${RADIUS_TIMEOUT:-10}
radius_retries ${RADIUS_RETRIES:-2}
bindaddr *
END
    echo "$address $(cat "$secret")" > servers
    cat > ocserv.conf <<END
auth = "radius[config=$folder/radcli.conf,groupconfig=true]"
tcp-port = 8443
run-as-user = nobody
run-as-group = daemon
socket-file = $folder/socket
pid-file = $folder/pid
server-cert = $folder/cert.pem
server-key = $folder/key.pem
isolate-workers = false
max-clients = 4
auth-timeout = ${AUTH_TIMEOUT:-60}
device = vpns
ipv4-network = 10.79.0.0/24
ping-leases = false
route = 10.79.0.0/24
cisco-client-compat = true
log-level = 3
END
    exec ocserv --foreground --debug 1 --config ocserv.conf
}

connect() {
    local folder=$1 gateway=$2 user=$3 pin
    cd "$folder"
    pin=$(openssl x509 -in cert.pem -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64)
    # openconnect tells this script what the server granted.
    cat > tunnel.sh <<'END'
#!/bin/sh
case $reason in
connect)
    ip link set "$TUNDEV" up mtu "${INTERNAL_IP4_MTU:-1400}"
    ip addr add "$INTERNAL_IP4_ADDRESS/24" dev "$TUNDEV"
    echo "granted $INTERNAL_IP4_ADDRESS"
    ;;
esac
END
    chmod +x tunnel.sh
    exec openconnect --protocol=anyconnect --servercert "pin-sha256:$pin" --user "$user" --script ./tunnel.sh --no-dtls \
        --interface oc0 "https://$gateway:8443/"
}

command=$1
shift
"$command" "$@"
