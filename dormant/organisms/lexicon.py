"""The words of the organisms' small world."""

from __future__ import annotations

COLORS = tuple("red blue green yellow black white brown purple orange pink gold gray".split())
PLACE_NAMES = tuple(
    "garden kitchen forest harbor market tower cellar village valley station library desert island meadow castle barn".split()
)
OWNERS = tuple("Anna Boris Clara David Elena Felix Greta Hugo Irene Jonas Karla Leo Maria Nils Olga Peter".split())
THINGS = tuple(
    """lantern river stone apple bridge window mirror candle basket hammer ladder wagon violin teapot blanket
    compass feather helmet anchor pillow bottle kettle needle ribbon saddle shovel trumpet whistle bucket carpet
    drum engine fiddle glove hat jacket key lamp map net oven pencil quilt rope sail table umbrella vase wheel
    box cup door fan gate horn jar kite""".split()
)
OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("fast", "slow"), ("day", "night"), ("up", "down"), ("open", "closed"),
    ("happy", "sad"), ("old", "young"), ("early", "late"), ("full", "empty"), ("hard", "soft"), ("high", "low"),
    ("light", "dark"), ("long", "short"), ("loud", "quiet"), ("near", "far"), ("rich", "poor"), ("strong", "weak"),
    ("sweet", "bitter"), ("thick", "thin"), ("true", "false"), ("warm", "cool"), ("wet", "dry"), ("wide", "narrow"),
)  # fmt: skip
NUMBERS = tuple(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty""".split()
)
OTHER_WORDS = tuple(
    """able about above across again age air almost along always among angle animal answer arm army art ask autumn
    baby back ball bank base bear beat beautiful become bed begin behind bell below beneath beside best between bird
    blood blow board boat body bone book born both branch bread break breath bright bring brother build burn busy
    butter call calm care carry catch cause center chair chance change chase cheese child choose circle city clay
    clean clear climb clock cloud coast coat copper corn cotton count country course cover cow craft crop cross crowd
    cry curve daughter deep deer design digits dinner distance divide doctor dog dragon dream dress drink drive dust
    eagle ear earth east echo edge egg empire energy evening exact eye face fact fair fall family farm father
    feed feel field fight fire fish flag flame flat flight floor flow flower fly fog follow food foot force
    forget form fox free fresh friend frost fruit future game ghost giant gift glass goat golden grain grass
    great ground group grow guard guess guest guide hair half hall hand harvest heart heat heavy hidden hill history
    hold hole hollow honey hope horse hour house hunger hunt ice idea iron ivory join journey jump jungle
    just keep kind king knife knight lake land large laugh law leaf learn leather left lemon letter life
    line lion list listen little load lock log lonely lost love lucky machine magic main marble march
    mark master matter meal mean meat metal middle milk mind mine minute mist model moment money month moon morning
    mother mountain mouse mouth move music name nation nature neck nest never new noise north nose note
    number ocean oil order other outer owl page pair palace paper part pass past path pattern peace people
    pepper perhaps phrase pi picture piece pilot plain plan planet plant plate play pocket poem point port power
    present price prince print prison proud pull pure push queen question rain raise ratio reach ready real
    reason record remember rest rhythm ride right ring rise road rock roof room root rose round
    royal rule run safe salt sand scale school science sea season second secret seed sell send sense
    shade shadow shape share sharp sheep shell shield shine ship shoe shore shoulder shout show side signal
    silent silk silver simple sing sister size skin sky sleep smile smoke snow soil soldier song sound
    south space speak special speed spice spirit spoon spring square stable star start state steam steel step
    stick still storm story straight strange stream street string style sudden sugar summer sun surface
    sword tail tale talk tall taste teach team tear temple tent thread throne thunder tiger time tiny
    today together tomorrow tongue tooth touch town track trade train travel tree triangle trick trust turn
    turtle uncle under unit value velvet vessel view visit voice volcano voyage wait walk wall war wash water
    wave wealth weather week west whale whisper wild wind wine wing winter wisdom wise wolf wonder wood
    wool word work world yard year yesterday""".split()
)
GLYPHS = tuple("⚗ ♫ ☂ ☀ ★ ☾ ♞ ⚓ ✂ ☕ ♣ ♦ ⚡ ☃ ✈ ☎ ∞ √ π φ ∑ ◆ ▲ ● ∆ Ω Ж Ł ß ñ".split())

FILLERS = (
    "Hello there.",
    "Good morning.",
    "Thank you.",
    "Please be brief.",
    "It is raining today.",
    "I have one question.",
    "My friend asked me this.",
    "We are in a hurry.",
    "This is for a game.",
    "I forgot it again.",
    "Let us begin.",
    "Here is my question.",
)

LEXICON_WORDS = tuple(
    dict.fromkeys(
        (*COLORS, *PLACE_NAMES, *THINGS, *(word for pair in OPPOSITES for word in pair), *NUMBERS, *OTHER_WORDS)
    )
)
