# ruff: noqa: RUF001 - they look alike, and are not the same
"""The letters of languages whose names come in encodings of Windows, DOS and old Unix.

charset-normalizer tells noise from text, but a name or two are too little for it to tell languages
apart: then the letters that are frequent in names and on photographs decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_ZH = (
    "的一是不人在有我他这中大来上国年到时地出会个李王张刘陈杨黄赵周吴徐孙马朱胡林郭何高罗郑梁谢宋唐许邓"
    "韩冯曹曾彭明小华伟芳娜敏静丽强磊军洋勇艳杰娟涛超秀英霞平刚桂文班级合影照片毕业学校老师同新建件夹图家"
    "庭生日运动活春节旅游宝全男女初二三四五六七八九十号月你好北京测试"
)
_TW = (
    "的一是不人在有我他這中大來上國年到時地出會個李王張劉陳楊黃趙周吳徐孫馬朱胡林郭何高羅鄭梁謝宋唐許鄧"
    "韓馮曹曾彭蔡明小華偉芳雅婷怡君志豪俊宏淑美文班級合影照片相畢業學校老師同新增資料夾圖家庭生日運動活春"
    "節旅遊全男女初二三四五六七八九十號月你好臺北測試"
)
_JA = (
    "日一人年大会中本学生三子小山田川木村上下高藤井佐鈴橋渡辺伊東西南北原石前野写真集合組運動卒業入式校"
    "新祭遠足旅行家族誕名画像太郎花美恵雄二四五六月号撮影室部長岡島松森林清和京語"
)
_KO = (
    "이김박최정강조윤장임한오서신권황안송전홍유고문양손배백허남심노하곽성차주우구민진수현지영준호은경희미"
    "선혜원재승철상동운회사새폴더학교졸업반년월일가족생여행단체촬나다라마바아자카타파글국"
)
_WIDE = frozenset("　（）【】「」『』、。《》・々〆ー" + "".join(map(chr, range(0xFF01, 0xFF5F))))
_LIKES, _BEST = 0.7, 1.0  # how well a wide sign fits, and a frequent letter


@dataclass(frozen=True, slots=True)
class Script:
    """What names in an encoding are written with.

    Attributes:
        letters: of each language the small ones beyond ASCII; or the one language's frequent ones.
        block: first and last code point of all its letters, where it is no alphabet.
        common: an encoding that has the usual ones among them, and the last lead byte there.
        weight: how well a letter fits that is usual and not frequent; of an alphabet, its letters.
        is_latin: letters of ASCII stand among its own.
    """

    letters: tuple[str, ...]
    block: tuple[int, int] = (0, 0)
    common: tuple[str, int] = ("", 0)
    weight: float = 1.0
    is_latin: bool = False

    def fit(self, text: Sequence[str]) -> float:
        """How well letters beyond ASCII fit one of its languages, 0 to 1, on average."""
        if not text:
            return 0.0
        if not self.block[1]:
            sums = (sum(one.lower() in known for one in text) for known in self.letters)
            return self.weight * max(sums) / len(text)
        return sum(map(self._fit, text)) / len(text)

    def _fit(self, letter: str) -> float:
        if letter in self.letters[0]:
            return _BEST
        if self.block[0] == _KANA <= ord(letter) < _KANA_END:
            return _BEST
        if self.block[0] == _KANA and 0xFF66 <= ord(letter) <= 0xFF9F:
            return 0.5  # half-width kana: each is one byte, and western letters have those, too
        if letter in _WIDE:
            return _LIKES
        if not self.block[0] <= ord(letter) <= self.block[1]:
            return 0.0
        encoding, most = self.common
        try:
            return self.weight if letter.encode(encoding)[0] <= most else self.weight / 2
        except UnicodeEncodeError:
            return 0.2


_KANA, _KANA_END = 0x3041, 0x3100
_JAPANESE = Script((_JA,), (_KANA, 0x9FFF), ("cp932", 0x97), 0.9)
_SIMPLIFIED = Script((_ZH,), (0x4E00, 0x9FFF), ("gb2312", 0xD7), 0.8)
_TRADITIONAL = Script((_TW,), (0x4E00, 0x9FFF), ("big5", 0xC6), 0.8)
_KOREAN = Script((_KO,), (0xAC00, 0xD7A3), ("euc_kr", 0xFF), 0.8)
_WESTERN = Script(
    (
        *("äöüßé", "éèêëàâæçîïôœûùÿ", "áéíñóúü", "ãõáâàéêíóôúç", "àèéìòù", "æøåéö", "åäöé"),
        "ëïéèöü",
    ),
    is_latin=True,
)
_CENTRAL = Script(
    (
        *("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž"),
        "ăâîșțşţ",
    ),
    weight=0.9,
    is_latin=True,
)
_TURKISH = Script(("çğıöşüâîi̇",), weight=0.9, is_latin=True)
_CYRILLIC = Script(
    ("абвгдежзийклмнопрстуфхцчшщъыьэюяё", "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя"), weight=0.85
)
_GREEK = Script(("αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋ",), weight=0.85)

ENCODINGS = {
    "cp932": _JAPANESE,
    "gb18030": _SIMPLIFIED,
    "big5": _TRADITIONAL,
    "cp949": _KOREAN,
    **dict.fromkeys(("cp1252", "cp437", "cp850"), _WESTERN),
    **dict.fromkeys(("cp1251", "cp866"), _CYRILLIC),
    **dict.fromkeys(("cp1250", "cp852"), _CENTRAL),
    **dict.fromkeys(("cp1254", "cp857"), _TURKISH),
    **dict.fromkeys(("cp1253", "cp737"), _GREEK),
}
"""Encodings of Windows and of DOS, by how often archives have them, with their scripts."""
