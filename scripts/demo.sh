#!/usr/bin/env bash
# Shows the whole life of a token on this machine, without a Databricks account: `pulumi up` creates it in a local
# workspace, and it works; when it is about to expire, `pulumi up` replaces it; a third `up` changes nothing; `pulumi
# destroy` revokes it, and then it is refused.
#
# Usage: make demo [LANGUAGE=yaml|python|typescript|go|java] [KEEP=1]
#    or: scripts/demo.sh [--language LANGUAGE] [--keep] [--debug]
#   --keep   or KEEP=1 leaves the scratch folder (project copy, Pulumi state) for a look; normally it is removed
#   --debug  uses debug builds of the plugin and the workspace, which build faster
#
# Nothing outside the scratch folder and ./target is written. Nothing is left running.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

began=$SECONDS
language=yaml
keep=no
if [ -n "${KEEP:-}" ]; then keep=yes; fi
profile=release
while [ $# -gt 0 ]; do
    case $1 in
    --language)
        [ $# -gt 1 ] || die "--language needs a value: yaml, python, typescript, go or java"
        language=$2
        shift
        ;;
    --language=*) language=${1#*=} ;;
    --keep) keep=yes ;;
    --debug) profile=debug ;;
    *) die "unknown argument $1; usage: make demo [LANGUAGE=yaml|python|typescript|go|java] [KEEP=1]" ;;
    esac
    shift
done

# Missing programs are reported before anything that takes minutes.
need_language "$language"
need_rust

# The demo must not reach a real workspace, stack or Pulumi account, whatever this shell has set.
for variable in $(compgen -e | grep -E '^(PULUMI|DATABRICKS|ARM|AZURE|GOOGLE|ACTIONS_ID_TOKEN)_' || true); do
    unset "$variable"
done

scratch=''
workspace=''
clean_up() {
    local code=$?
    trap - EXIT
    if [ -n "$workspace" ]; then
        kill "$workspace" 2>/dev/null || true
        wait "$workspace" 2>/dev/null || true
    fi
    if [ -n "$scratch" ]; then
        if [ "$keep" = yes ]; then note "kept: $scratch"; else rm -rf "$scratch"; fi
    fi
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step "1. Get the Pulumi engine"
# YAML and Java need their language host beside the engine; the other programs run without one (scripts/inline/run.sh).
case $language in yaml | java) needed=pulumi-language-$language ;; *) needed=pulumi ;; esac
unfit=''
if ! command -v pulumi >/dev/null; then
    unfit="there is no pulumi on PATH"
elif ! command -v "$needed" >/dev/null; then
    unfit="$(command -v pulumi) is there, but not $needed, the host of programs in this language"
elif ! at_least "$(pulumi version | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1)" 3.200; then
    unfit="$(command -v pulumi) is version $(pulumi version), and the demo needs 3.200 or newer"
fi
if [ -z "$unfit" ]; then
    note "the one on PATH: $(command -v pulumi) $(pulumi version)"
else
    note "$unfit: using this repository's own"
    host=()
    if [ "$language" = java ]; then host=(--java); fi
    "$root/scripts/engine.sh" ${host[@]+"${host[@]}"}
    export PATH="$engine_bin:$PATH"
    note "$engine_bin/pulumi $(pulumi version)"
fi

step "2. Build the plugin and the local workspace"
# A debug build is of the whole workspace, as for the tests: for two packages alone, Cargo would build it anew.
flags=(--locked --workspace)
if [ "$profile" = release ]; then flags=(--locked --release -p pulumi-resource-databricks -p databricks-local-workspace); fi
cd "$root"
slowly "cargo build ${flags[*]}" "a few minutes the first time" cargo build "${flags[@]}"
built=$cargo_target/$profile
[ -x "$built/pulumi-resource-databricks" ] || die "cargo made no $built/pulumi-resource-databricks"
[ -x "$built/databricks-local-workspace" ] || die "cargo made no $built/databricks-local-workspace"

step "3. Start a local Databricks workspace"
scratch=$(mktemp -d)
# The workspace ends when its stdin does. This script holds the other end, so even a kill -9 of it leaves nothing behind.
mkfifo "$scratch/stdin"
"$built/databricks-local-workspace" --exit-on-stdin-eof <"$scratch/stdin" >"$scratch/workspace.out" 2>"$scratch/workspace.log" &
workspace=$!
exec 8>"$scratch/stdin"
tries=0
until grep -q '^DATABRICKS_TOKEN=' "$scratch/workspace.out"; do
    kill -0 "$workspace" 2>/dev/null || die "the local workspace ended at once: $(cat "$scratch/workspace.log")"
    tries=$((tries + 1))
    [ "$tries" -le 100 ] || die "the local workspace did not print its address within 10 s: $(cat "$scratch/workspace.log")"
    sleep 0.1
done
DATABRICKS_HOST=$(sed -n 's/^DATABRICKS_HOST=//p' "$scratch/workspace.out")
DATABRICKS_TOKEN=$(sed -n 's/^DATABRICKS_TOKEN=//p' "$scratch/workspace.out")
export DATABRICKS_HOST DATABRICKS_TOKEN
note "DATABRICKS_HOST=$DATABRICKS_HOST"
note "DATABRICKS_TOKEN=dapi****   (a token of that workspace; with it the plugin creates the new one)"
# A profile in the home folder could name another workspace, and a proxy cannot reach this one.
export DATABRICKS_CONFIG_FILE="$scratch/databrickscfg" NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}"
: >"$DATABRICKS_CONFIG_FILE"

# set_clock DAYS: sets the workspace's clock to so many days from now.
set_clock() {
    local body="{\"set_ms\": $((($(date +%s) + $1 * 86400) * 1000))}" url=$DATABRICKS_HOST/local/control/clock
    if command -v curl >/dev/null; then
        curl --silent --fail --max-time 30 --output /dev/null --data "$body" "$url"
    else
        python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], sys.argv[2].encode(), 30)' "$url" "$body"
    fi || die "$url does not answer"
}
set_clock -80
note "its clock says that it is 80 days ago, so that the token will be old when its time comes to be replaced"

step "4. Prepare a Pulumi project in a scratch folder"
"$root/scripts/example.sh" "$language" "$scratch"
project=$scratch/examples/$language
cat >>"$project/Pulumi.yaml" <<END

# Where the engine finds the plugin. \`make install\` makes this unnecessary.
plugins:
  providers:
    - name: databricks
      path: "$built"
END
mkdir "$scratch/state"
export PULUMI_HOME="$scratch/pulumi-home" PULUMI_BACKEND_URL="file://$scratch/state"
export PULUMI_CONFIG_PASSPHRASE=demo PULUMI_SKIP_UPDATE_CHECK=true
color=''
if [ -n "$plain" ]; then color=always; fi
# Only the plugin that was just built may answer: none from PATH, and none from the network.
export PULUMI_IGNORE_AMBIENT_PLUGINS=true PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION=true
note "a copy of examples/$language, its state in a file, the plugin from ${built#"$root"/}"
cd "$project"
run pulumi stack init demo

# watched COMMAND...: runs it, and also fails when its output counts errors: when a plugin ended too early, the engine
# says "1 errored" but ends with status 0.
watched() {
    run "$@" 2>&1 | tee "$scratch/output"
    if grep -qE '[0-9]+ errored' "$scratch/output"; then die "Pulumi counted errors, see above"; fi
}

up() {
    case $language in
    yaml | java) watched pulumi up --yes ${color:+--color "$color"} --stack demo "$@" ;;
    *)
        note "(with an installed Pulumi this is \`pulumi up\`; here the program runs without its language host)"
        watched "$root/scripts/inline/run.sh" "$language" --stack demo "$@" up
        ;;
    esac
}

# try_token: lists the workspace's tokens with the token in `token_value`. Prints the answer's body and sets `status`.
# The value reaches curl through stdin: in an argument everybody on this machine could read it.
try_token() {
    note "\$ curl -H 'Authorization: Bearer dapi****' $DATABRICKS_HOST/api/2.0/token/list"
    if command -v curl >/dev/null; then
        status=$(printf 'header = "Authorization: Bearer %s"\n' "$token_value" |
            curl --silent --max-time 30 --config - --output "$scratch/answer" --write-out '%{http_code}' \
                "$DATABRICKS_HOST/api/2.0/token/list") || die "$DATABRICKS_HOST does not answer"
    else
        need_python
        status=$(printf %s "$token_value" | python3 -c '
import pathlib, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + sys.stdin.read()})
try:
    answer = urllib.request.urlopen(request, timeout=30)
except urllib.error.HTTPError as error:
    answer = error
pathlib.Path(sys.argv[2]).write_bytes(answer.read())
print(answer.status)
' "$DATABRICKS_HOST/api/2.0/token/list" "$scratch/answer") || die "$DATABRICKS_HOST does not answer"
    fi
    note "HTTP $status $(head -c 300 "$scratch/answer")"
}

step "5. pulumi up: create the token, which lives for 90 days"
up

step "6. The stack's outputs (secrets stay hidden)"
run pulumi stack output --stack demo
read_token() {
    token_value=$(pulumi stack output tokenValue --show-secrets --stack demo)
    [ -n "$token_value" ] || die "the stack's output tokenValue is empty"
}
read_token
first=$token_value

step "7. Does the new token work? List the workspace's tokens with it"
try_token
[ "$status" = 200 ] || die "the workspace answered HTTP $status to the new token, not 200"
good "the workspace accepts it"

step "8. 80 days later: pulumi up replaces the token, since it expires in ten days"
set_clock 0
up
read_token
[ "$token_value" != "$first" ] || die "the token was not replaced"
try_token
[ "$status" = 200 ] || die "the workspace answered HTTP $status to the replacement, not 200"
good "the workspace accepts the new token"
token_value=$first
try_token
case $status in
401 | 403) good "and refuses the old one" ;;
*) die "the workspace answered HTTP $status to the token that was replaced, not 401 or 403" ;;
esac
read_token

step "9. pulumi up once more: nothing to change"
up --expect-no-changes
good "the third up changed nothing"

step "10. pulumi destroy: revoke the token"
watched pulumi destroy --yes ${color:+--color "$color"} --stack demo

step "11. Does it still work?"
try_token
case $status in
401 | 403) good "the workspace refuses it now" ;;
*) die "the workspace answered HTTP $status to a token that was revoked, not 401 or 403" ;;
esac

step "Done, in $((SECONDS - began)) s"
good "pulumi up created a token of 90 days, and the workspace accepted it"
good "80 days later pulumi up replaced it before it expired, and the old one was refused"
good "another pulumi up changed nothing"
good "pulumi destroy revoked the token, and the workspace refused it"
note "The same in another language: make demo LANGUAGE=python (or typescript, go, java)"
note "To keep the project and its state for a look: make demo KEEP=1"
note "Your own workspace: examples/$language/README.md"
