"""What goes round in circles compresses well; ordinary text, lists, code and tables do not."""

from __future__ import annotations

import pytest

from chatbot.dialogue.repetition import compression_ratio
from chatbot.store.reply_states import HIGH_COMPRESSION

ENGLISH = (
    "The sky looks blue because the gases of the air scatter short waves of sunlight more than long ones. At noon that "
    "light reaches us from every side; in the evening it has crossed so much air that hardly any blue is left, and "
    "what remains is orange and red. Dust and smoke change the picture: large grains scatter all colours alike, which "
    "is why a hazy sky is pale and a cloud is white. On Mars, where the dust is fine and full of iron, it is the other "
    "way about: days are the colour of butterscotch, and the setting sun stands in a blue halo. The effect is named "
    "after Lord Rayleigh, who found in 1871 that the strength grows with the fourth power of the frequency."
)
CHINESE = (
    "长城是中国古代的军事防御工程，始建于春秋战国时期，秦始皇统一六国后将各国的城墙连接起来，此后历代都有修缮。现存的"
    "部分多为明代所筑，东起山海关，西至嘉峪关，全长两万多公里。它翻山越岭，穿过沙漠和草原，沿线设有烽火台、关隘和兵营，"
    "一旦敌人来犯，士兵便点燃狼烟传递消息。今天，长城已经成为世界文化遗产，每年吸引着来自各地的游客前来参观。"
)
LIST = "\n".join(
    f"{number}. **{name}** – {use}"
    for number, (name, use) in enumerate(
        [
            ("Flour", "sift it twice, so that no lumps are left"),
            ("Butter", "cold from the fridge, in small cubes"),
            ("Eggs", "three large ones at room temperature"),
            ("Sugar", "brown, for the colour and a hint of caramel"),
            ("Salt", "a pinch brings out everything else"),
            ("Vanilla", "scrape the pod, and boil the rest of it in the milk"),
        ],
        1,
    )
)
CODE = '''
class Stack:
    """Last in, first out."""

    def __init__(self):
        self._items = []

    def push(self, item):
        self._items.append(item)

    def pop(self):
        if not self._items:
            raise IndexError("pop from an empty stack")
        return self._items.pop()

    def __len__(self):
        return len(self._items)


def balanced(text):
    pairs = {")": "(", "]": "[", "}": "{"}
    stack = Stack()
    for character in text:
        if character in pairs.values():
            stack.push(character)
        elif character in pairs:
            if not len(stack) or stack.pop() != pairs[character]:
                return False
    return not len(stack)
'''
TABLE = """
| Planet  | Diameter (km)      | Moons              | Day (hours)        |
|---------|--------------------|--------------------|--------------------|
| Mercury | 4,879              | 0                  | 4,222.6            |
| Venus   | 12,104             | 0                  | 2,802.0            |
| Earth   | 12,756             | 1                  | 24.0               |
| Mars    | 6,792              | 2                  | 24.7               |
| Jupiter | 142,984            | 95                 | 9.9                |
| Saturn  | 120,536            | 146                | 10.7               |
"""


@pytest.mark.parametrize(
    "text", [ENGLISH, CHINESE, LIST, CODE, TABLE], ids=["english", "chinese", "list", "code", "table"]
)
def test_ordinary_text_stays_below_the_threshold(text: str) -> None:
    assert 0.9 < compression_ratio(text) < HIGH_COMPRESSION


def test_a_long_text_is_judged_by_its_parts() -> None:
    whole = "\n\n".join([ENGLISH, LIST, CODE, CHINESE, TABLE])
    assert compression_ratio(whole) < HIGH_COMPRESSION


@pytest.mark.parametrize("loop", [" the", " I am a very good friend.", "天空是蓝色的。", ENGLISH[:300], "\n", "ha"])
@pytest.mark.parametrize("beginning", ["", ENGLISH, CHINESE])
def test_a_loop_anywhere_is_above_the_threshold(loop: str, beginning: str) -> None:
    looped = beginning + loop * (1200 // len(loop))
    assert compression_ratio(looped) > HIGH_COMPRESSION
    assert compression_ratio(looped + ENGLISH) > HIGH_COMPRESSION


def test_the_width_of_a_table_is_no_repetition() -> None:
    narrow = "\n".join(" ".join(line.split()) for line in TABLE.replace("-" * 18, "-").splitlines())
    assert compression_ratio(TABLE) == pytest.approx(compression_ratio(narrow), rel=0.15)


def test_short_and_odd_texts() -> None:
    assert compression_ratio("") == 0
    assert compression_ratio("Yes.") < 1
    assert compression_ratio("\ud800") > 0
