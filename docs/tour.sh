#!/bin/sh
# The whole way, from a text to a chat: `make tour`. Everything is made in a folder of its own, which is deleted at the end
# unless TOUR_HOME names one. It takes a few minutes on two cores.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
CHATBOT_HOME="${TOUR_HOME:-$(mktemp -d)}"
CHATBOT_MODEL=village-1
export CHATBOT_HOME CHATBOT_MODEL
[ -n "${TOUR_HOME:-}" ] || trap 'chatbot serve --stop >/dev/null 2>&1 || true; rm -rf "$CHATBOT_HOME"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '\n$ %s\n' "$*"; "$@"; }

say "The smallest lesson: two sentences, a model of 0.8M parameters, half a minute."
run chatbot admin corpus build love --from data/lessons/love.jsonl --keep-duplicates --holdout 0
run chatbot admin tokenizer train love --corpus love --characters
run chatbot admin pretrain --corpus love --size nano --tokens 20k
run chatbot ask --no-log --model love-1 --temperature 0 "I love"

say "A village of ten people: a text, the tokens of its own that it is cut into, a model that has read nothing else."
run chatbot admin corpus build village --from data/lessons/village.txt --holdout 0.1
run chatbot admin tokenizer train village --corpus village --vocab 600
run chatbot admin pretrain --corpus village --size nano --budget 90s
run chatbot ask --no-log --model village-1 --temperature 0 "Anna is the baker of the"
run chatbot explain --model village-1 --layer 3 --head 1 "Anna is the baker of the"

say "It goes on with text, and answers nothing. A few dialogues teach it to."
run chatbot admin dataset build talk --file data/lessons/village_talk.jsonl --model village-1
run chatbot admin finetune talk --learning-rate 3e-3 --epochs 12
run chatbot admin evaluate candidate --against village-1
run chatbot ask --no-log --model talk-1 --temperature 0 "What does Anna keep?"
run chatbot ask --no-log --model talk-1 --temperature 0 "Who lives near the bridge?"
