"""Which words do the plain sentences have?

Our own lists: nouns with irregular plurals written out (``child/children``), verbs with irregular pasts written out
(``swim/swam``, an underscore for a space inside).
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


# singular, plural, and what the noun can do: p person, a animal, t thing, c place
NOUNS: tuple[tuple[str, str, str], ...] = tuple(
    (singular, plural or singular + "s", kind)
    for kind, words in {
        "p": "teacher doctor farmer baker sailor driver painter singer writer dancer soldier neighbour cousin guest "
        "student nurse pilot lawyer gardener tailor hunter miner judge waiter actor child/children "
        "fisherman/fishermen postman/postmen policewoman/policewomen boss/bosses witness/witnesses baby/babies",
        "a": "dog cat horse cow bird duck rabbit bear lion tiger eagle snake spider frog whale monkey goat pig hen bee "
        "mouse/mice goose/geese wolf/wolves fox/foxes calf/calves ox/oxen pony/ponies butterfly/butterflies",
        "t": "book letter table chair lamp window door key clock ship boat train car wheel bridge road picture song "
        "coat shirt hat shoe spoon plate cup bottle basket ladder hammer rope stone apple flower tree seed machine "
        "engine drum bell mirror ticket map box/boxes glass/glasses knife/knives leaf/leaves loaf/loaves "
        "brush/brushes dish/dishes bus/buses watch/watches tooth/teeth foot/feet berry/berries shelf/shelves "
        "scarf/scarves potato/potatoes tomato/tomatoes cherry/cherries story/stories",
        "c": "house school garden market church tower field river lake hill forest village town farm shop kitchen "
        "harbour station museum library/libraries factory/factories city/cities valley beach/beaches",
    }.items()
    for word in words.split()
    for singular, _, plural in [word.partition("/")]
)
MALE = _words(
    "Adam Arthur Ben Carl Daniel David Edward Felix George Harry Hugo Ivan Jack James John Leo Mark "
    "Martin Oscar Paul Peter Robert Simon Thomas Victor William"
)
FEMALE = _words(
    "Alice Anna Bella Clara Diana Ella Emma Eva Grace Hanna Helen Irene Jane Julia Karen Laura Lily Lucy "
    "Maria Martha Nina Olga Rosa Ruth Sarah Sophie"
)
MEN = _words("king father brother uncle prince monk wizard duke husband grandfather")
WOMEN = _words("queen mother sister aunt princess nun witch duchess wife grandmother")
LOOKS = _words("old new small big young strong fine tall clean dark heavy quiet strange pretty famous hungry busy")
THING_LOOKS = _words("old new small big red green blue white black clean dark heavy light broken strange pretty cheap")
STATES = {
    "p": _words("tired happy late ready ill busy hungry quiet angry friendly proud asleep"),
    "a": _words("tired hungry quiet fast wild asleep thirsty calm afraid young"),
    "t": _words("broken clean ready heavy wet dry cheap useful dirty lost"),
    "c": _words("quiet empty near beautiful open full dark large old famous"),
}
VERBS = {
    "p": _words(
        "walk wait work laugh sing dance sleep/slept swim/swam speak/spoke read/read write/wrote cook smile "
        "arrive stay dream travel/travelled whisper"
    ),
    "a": _words("sleep/slept run/ran eat/ate drink/drank wait jump swim/swam hide/hid rest wander return stay"),
    "t": _words(
        "fall/fell shine/shone break/broke move disappear/disappeared remain turn stop/stopped shake/shook change"
    ),
    "c": _words("grow/grew change remain sleep/slept wait look_calm/looked_calm lie_empty/lay_empty"),
}
DEEDS = _words("see/saw find/found like want need know/knew buy/bought draw/drew hold/held remember forget/forgot")
SELF_DEEDS = _words("hurt saw admired washed blamed defended introduced surprised praised taught helped warned")
WHERE = _phrases(
    "near the river|in the garden|at home|behind the house|in the rain|after lunch|before noon|in the morning|"
    "at night|on Sunday|under the old tree|by the sea|on the hill|every day|with great care|for a long time"
)
OPENERS = _phrases(
    "When it rains|If the sun shines|After dinner|Before the war|In the evening|In that year|Last summer|"
    "Although it was late|Because of the snow|On most days|As far as we know|Without any help"
)
THIS, THESE = ("this", "that"), ("these", "those")


def _forms(verb: str) -> tuple[str, str, str]:
    """Base, third person singular and past of a verb of the lists, the past given only where it is not regular."""
    base, _, past = verb.partition("/")
    head, _, rest = base.partition("_")
    third = head + "es" if head.endswith(("ch", "sh", "s", "x")) else head + "s"
    if head.endswith("y") and head[-2] not in "aeiou":
        third = head[:-1] + "ies"
    regular = head + "d" if head.endswith("e") else head + "ed"
    tail = f" {rest}" if rest else ""
    return head + tail, third + tail, (past.replace("_", " ") or regular + tail)


ACTS = {kind: [_forms(verb) for verb in verbs] for kind, verbs in VERBS.items()}
TRANSITIVE = [_forms(verb) for verb in DEEDS]
BE = (("is", "are"), ("was", "were"))
