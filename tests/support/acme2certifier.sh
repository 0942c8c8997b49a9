#!/bin/sh
# acme2certifier.sh VENV DIR PORT: runs the ACME server acme2certifier at 127.0.0.1:PORT, with
# renewal information, until it is killed. Challenges count as answered without a look; what is
# tried with it are orders and renewal information, and Pebble does the rest.
#
# VENV is made when it is not there. DIR gets api-cert.pem, which vouches for the server's HTTPS.
# ARI_PERCENT (default 66) is where in a certificate's life of one day its renewal window opens,
# ARI_SECONDS (default 3600) how long the window is.
set -eu
venv=$1 dir=$2 port=$3

# Several tests may want it at once; the one that comes first makes it.
(
  flock 9
  if [ ! -e "$venv/complete" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" --quiet --disable-pip-version-check install acme2certifier==0.46.3 gunicorn==27.0.1
    : > "$venv/complete"
  fi
) 9> "$venv.lock"

curve='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30'
mkdir -p "$dir/issued"
# shellcheck disable=SC2086
openssl req -x509 $curve -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
  -addext basicConstraints=critical,CA:FALSE -keyout "$dir/api-key.pem" -out "$dir/api-cert.pem" 2> "$dir/openssl.log"
# shellcheck disable=SC2086
openssl req -x509 $curve -subj "/CN=second test root" -addext basicConstraints=critical,CA:TRUE \
  -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$dir/root-key.pem" -out "$dir/root.pem" 2>> "$dir/openssl.log"

cat > "$dir/acme_srv.cfg" <<CONFIG
[DEFAULT]
debug: True
[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: $dir/root-key.pem
issuing_ca_cert: $dir/root.pem
issuing_ca_crl: $dir/crl.pem
cert_save_path: $dir/issued
cert_validity_days: 1
[DBhandler]
handler_module: acme2certifier.dbhandlers.wsgi_handler
dbfile: $dir/acme_srv.db
[Challenge]
challenge_validation_disable: True
[Renewalinfo]
renewalthreshold_pctg: ${ARI_PERCENT:-66}
renewal_window_duration: ${ARI_SECONDS:-3600}
retry_after_timeout: 60
CONFIG

# gunicorn leaves a control socket at home.
HOME=$dir
export HOME
ACME_SRV_CONFIGFILE=$dir/acme_srv.cfg ACME2CERTIFIER_BASE_DIR=$dir ACME2CERTIFIER_I_KNOW_THE_RISK=1
export ACME_SRV_CONFIGFILE ACME2CERTIFIER_BASE_DIR ACME2CERTIFIER_I_KNOW_THE_RISK
exec "$venv/bin/gunicorn" --bind "127.0.0.1:$port" --workers 1 --threads 4 \
  --certfile "$dir/api-cert.pem" --keyfile "$dir/api-key.pem" \
  acme2certifier.share.acme2certifier_wsgi:application
