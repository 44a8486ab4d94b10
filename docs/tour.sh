#!/bin/sh
# The whole way, from a text to a chat: `make tour`. Everything is made in a folder of its own, which is deleted at the end
# unless TOUR_HOME names one: there nothing is deleted, and a second tour makes only what the first one did not. It takes
# a few minutes on two cores, and fails if the first model has not learnt its sentence.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
CHATBOT_HOME="${TOUR_HOME:-$(mktemp -d)}"
CHATBOT_MODEL=village-1
export CHATBOT_HOME CHATBOT_MODEL
[ -n "${TOUR_HOME:-}" ] || trap 'chatbot serve --stop >/dev/null 2>&1 || true; rm -rf "$CHATBOT_HOME"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '\n$ %s\n' "$*"; "$@"; }
has_tokenizer() { chatbot admin tokenizer show "$1" >/dev/null 2>&1; }
has_model() { chatbot models show "$1" >/dev/null 2>&1; }

say "The smallest lesson: two sentences, a model of 0.8M parameters, half a minute."
run chatbot admin corpus build love --from data/lessons/love.jsonl --keep-duplicates --holdout 0
has_tokenizer love || run chatbot admin tokenizer train love --corpus love --characters
has_model love-1 || run chatbot admin pretrain --corpus love --size nano --tokens 20k
said="$(run chatbot ask --no-log --model love-1 --temperature 0 "I love")"
printf '%s\n' "$said"
case "$said" in
*"
 you"*) ;;
*)
    say "love-1 does not go on with \" you\": it has not learnt its sentence." >&2
    exit 1
    ;;
esac

say "A village of ten people: a text, the tokens of its own that it is cut into, a model that has read nothing else."
run chatbot admin corpus build village --from data/lessons/village.txt --holdout 0.1
has_tokenizer village || run chatbot admin tokenizer train village --corpus village --vocab 600
has_model village-1 || run chatbot admin pretrain --corpus village --size nano --budget 90s
run chatbot ask --no-log --model village-1 --temperature 0 "Anna is the baker of the"
run chatbot explain --model village-1 --layer 3 --head 1 "Anna is the baker of the"

say "It goes on with text, and answers nothing. A few dialogues teach it to."
run chatbot admin dataset build talk --file data/lessons/village_talk.jsonl --model village-1
has_model talk-1 || run chatbot admin finetune talk --learning-rate 3e-3 --epochs 12
run chatbot admin evaluate talk-1 --against village-1
run chatbot ask --no-log --model talk-1 --temperature 0 "What does Anna keep?"
run chatbot ask --no-log --model talk-1 --temperature 0 "Who lives near the bridge?"
