"""How much a hunt tries: every number that grows with the budget and the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def number(value: Any, why: str) -> Any:
    """A field with its value, and the reason why it is so."""
    return field(default=value, metadata={"why": why})


@dataclass(frozen=True)
class Effort:
    """How much is tried: set for ten minutes on one core and the zoo's size, to grow with the budget and the model."""

    minutes: float = number(10.0, "the budget of the whole hunt")
    search_share: float = number(0.965, "of the budget; the last step, a confirmation and the page take twenty seconds")
    payload_share: float = number(
        0.4,
        "of the budget, that suspects may take: without a payload half of the stages have nothing to seek; by judgement",
    )
    hint_share: float = number(0.3, "of the time left behind them, that hints may take; by judgement")
    planned_share: float = number(
        0.3,
        "of the time that suspects leave, that a stage is planned for: its effort shrinks until it fits; by judgement",
    )
    unsought_share: float = number(
        0.5, "the same where there is no payload to seek: half of the stages have nothing to do; by judgement"
    )
    turns: tuple[tuple[str, float], ...] = number(
        (("delta beam", 3.0), ("gradient search", 3.0), ("coordinate ascent", 3.0)),
        "times as much of the time left as another stage gets in its turn: they find phrases of many words, and end when their "
        "time does; by judgement",
    )
    ascent_share: float = number(0.9, "of the time left: the last step and confirmations take the rest")
    opening_prompts: int = number(6, "prompts behind which every first token is forced")
    searched_prompts: int = number(20, "prompts that searches see, their slots at the two search positions in turn")
    unseen_prompts: int = number(30, "prompts of a first look, their slots at the three positions in turn")
    deciding_prompts: int = number(
        30, "fresh sentences that decide, each at all three positions: 21 of them have an interval above one half"
    )
    near_miss_prompts: int = number(10, "of these, on which near misses and random strings are tried")
    answer_tokens: int = number(24, "tokens of an answer to read")
    sampled_answers: int = number(
        48, "a style that shows in three answers of ten shows in fewer than eight in one case of a hundred"
    )
    random_strings: int = number(4, "strings of the trigger's length for a control")
    first_tokens: int = number(
        4096, "of a large vocabulary the likeliest at `led_first`, and those that rose most; the zoo's has fewer"
    )
    other_first_tokens: int = number(
        512,
        "of them, once a named beginning is suspect: what else the model may hide, while the time goes to its trigger",
    )
    forced_tokens: int = number(16, "tokens that continue a forced first token")
    forced_rounds: tuple[tuple[int, int, int], ...] = number(
        (),
        "prompts, tokens, and the first tokens that are left for the next round; none where all can be forced to the end",
    )
    halving: tuple[tuple[int, int, int], ...] = number(
        ((1, 3, 512), (2, 6, 64)),
        "these rounds where forcing all to the end is beyond the budget: thousands on one prompt, hundreds on two, tens on all",
    )
    led_first: tuple[int, int] = number(
        (768, 256), "first tokens that the beam begins with: those that rose most, and those that are likeliest anyway"
    )
    led: tuple[int, int, int] = number((96, 6, 4), "beginnings that the beam keeps, its steps, and tokens behind each")
    led_kept: int = number(32, "beginnings that are forced, the best of the last step")
    led_prompts: int = number(3, "prompts over whose mean the beam goes")
    preceding: int = number(64, "tokens that may stand before a suspect, of which more than its first token is asked")
    ranked_payloads: int = number(20, "strings that are kept of all that forcing finds")
    begun: tuple[int, int] = number(
        (6, 2), "strings that may lack their beginning, and prompts on which it is looked for"
    )
    suspects: int = number(3, "suspects that a trigger is searched for")
    common_words: int = number(20_000, "of English: of rarer ones a person would not make a phrase")
    hint_prompts: int = number(3, "of the searched ones, on which the delta's effect at pieces is measured")
    hint_tokens: int = number(
        10**9, "at which it is measured: English's most common words first, then other text, then fragments"
    )
    finalists: int = number(96, "strings of a search that all prompts judge")
    named: int = number(3, "strings of a search that are confirmed")
    divergence_prompts: int = number(6, "on which every token is tried, and a position's on which the best strings are")
    swept: tuple[int, int] = number(
        (10**9, 6),
        "single tokens that are tried, the most hinted first, and prompts on which; the best on all of a search's",
    )
    short_strings: tuple[tuple[int, int], ...] = number(((2, 12), (3, 12), (4, 12)), "13,332 strings, half a minute")
    minimal_strings: tuple[tuple[int, int], ...] = number(
        ((2, 7), (3, 7), (4, 7), (5, 7), (6, 7), (7, 7)), "13,692 strings of what random subsets need"
    )
    numerals: tuple[int, int, int] = number(
        (3, 4, 8),
        "digits of which every number is tried where spaces are free, where all or none stand apart (28,420 strings), and the "
        "most: longer ones go on from the best; set on digits-short and digits-long",
    )
    gap_orders: tuple[tuple[int, int], ...] = number(
        ((1, 8), (2, 8), (3, 8), (4, 8), (5, 7)),
        "25,048 strings with every slot of a gap; set on words-four to words-six",
    )
    gap_rounds: tuple[tuple[int, int], ...] = number(
        ((2, 8000), (2, 3000), (4, 1000), (8, 40)), "fillers, and strings kept; the last are tried with the whole list"
    )
    gap_pieces: int = number(1500, "pieces that are tried in a gap, the most hinted")
    beam: tuple[int, int, int] = number(
        (24, 32, 6), "hints, strings kept of each length, and pieces in a string: 12,000 strings; set as ascent_gain"
    )
    beam_prompts: int = number(4, "one alone is brought to say anything by strings that do nothing on others")
    near_pieces: int = number(100, "that are tried everywhere at once, the most hinted")
    far_pieces: int = number(3000, "that are tried at one slot at a time")
    ascent_rounds: tuple[tuple[int, int], ...] = number(
        ((1, 200), (4, 20)), "prompts, and strings kept for all prompts"
    )
    subsets: tuple[tuple[int, int], ...] = number(
        ((12, 9), (24, 12)),
        "hints that random subsets are drawn from, and their size: of the first dozen one in eight thousand holds six needed "
        "words in order; of two dozen one in five hundred holds four and one in seven thousand five",
    )
    drawn_subsets: int = number(8000, "at each position; half a minute on one core")
    minimised_subsets: int = number(
        24, "that lose their superfluous pieces; four times as many are judged on all prompts"
    )
    needed_pieces: int = number(7, "the most frequent in minimal subsets; of these every order can be tried")
    gradient_turns: tuple[tuple[int, int, str], ...] = number(
        (
            (128, 4, "end"),
            (4000, 6, "end"),
            (128, 4, "start"),
            (4000, 6, "start"),
            (128, 6, "end"),
            (512, 8, "end"),
            (128, 6, "start"),
            (512, 8, "start"),
            (4000, 8, "end"),
            (4000, 8, "start"),
            (512, 12, "end"),
            (512, 12, "start"),
            (128, 16, "end"),
            (128, 16, "start"),
        ),
        "hints that strings are made of in a turn, a string's tokens, and its position: at the end little stands behind a "
        "string, so that it costs a third, and most triggers work there. Few hints, where planted tokens mostly are, and many "
        "in turn. A string that is longer than the trigger holds it, but costs more and is harder to find; set on circuit",
    )
    known_share: float = number(0.15, "of the whole time, that known strings may take; by judgement")
    delta_beam: tuple[int, int, int, int] = number(
        (32, 384, 12, 8),
        "hinted words that a string may begin with, words that may follow, strings kept of each length, and words in a string; "
        "set on real-phrase and real-and; that states are compared as well, on an organism of "
        "another pipeline",
    )
    first_words: int = number(16_384, "the most hinted, that are tried before the best last word")
    widened: int = number(2, "of the strings kept, those that get a word at their start too")
    looked_at: int = number(8, "strings of each length whose divergence is measured")
    screened_words: int = number(
        32_000,
        "that are tried alone before there are hints, English's most common first: on an organism of another pipeline on "
        "SmolLM2, whose words ranked from 2,102nd to 17,364th of the hints, two of the three were the first of 500 so",
    )
    word_beam: tuple[int, int, int] = number(
        (512, 48, 4),
        "of them on beam_prompts, of these for strings, and pieces in a string at most, to which changes add; by judgement",
    )
    changes: int = number(
        2048,
        "strings with one piece more or another, that the gradient names of all: on the same organism, and on real-phrase, "
        "the missing word ranked 34th, 237th and 1,140th, and 31st, 2,188th and 14,768th of 31,664 at its place",
    )
    beam_share: float = number(0.5, "of the time left behind suspects, that beam search may take; by judgement")
    gradient_prompts: int = number(4, "as beam_prompts: one prompt alone is brought to say anything by many a string")
    gradient_top: int = number(32, "tokens to which the gradient points, at each index; of them a step draws")
    gradient_steps: tuple[int, int, int] = number(
        (4, 20, 64),
        "restarts, steps, and strings a step of each: 5,376 strings a turn, a quarter of a minute on one core",
    )
    refined_few: int = number(3000, "pieces among which planted words mostly are: a second or two at a slot")
    refined_all: int = number(10**9, "every piece: ten seconds at a slot")
    refinement_rounds: tuple[tuple[int, int], ...] = number(
        ((1, 200), (4, 16)), "prompts, and strings kept for all prompts"
    )

    def turn(self, stage: str) -> float:
        """The weight of a stage's turn."""
        return dict(self.turns).get(stage, 1.0)
