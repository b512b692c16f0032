"""XXH3, 64 bits, seed 0: the hash in which Kafka notes the topics of a group.

Written from the specification, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md.
Four ways by length: up to 16 bytes, up to 128, up to 240, and longer. About
10 MB/s; what is hashed here has a few hundred bytes.
"""

from struct import Struct

_MASK = (1 << 64) - 1
_P32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
_P64 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
_MIX_1 = 0x165667919E3779F9
_MIX_2 = 0x9FB21C651E98DF25
_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_STRIPE = 64
_STRIPES_IN_BLOCK = (len(_SECRET) - _STRIPE) // 8
_BLOCK = _STRIPE * _STRIPES_IN_BLOCK
_WORD = Struct("<Q").unpack_from
_PAIR = Struct("<2Q").unpack_from
_LANES = Struct("<8Q").unpack_from
_HALF = Struct("<I").unpack_from


def xxh3_64(data: bytes) -> int:
    """The hash of `data`, from 0 to 2^64 - 1."""
    size = len(data)
    if size <= 16:
        return _up_to_16(data, size)
    if size <= 128:
        return _up_to_128(data, size)
    if size <= 240:
        return _up_to_240(data, size)
    return _longer(data, size)


def _key(at: int) -> int:
    return int(_WORD(_SECRET, at)[0])


def _up_to_16(data: bytes, size: int) -> int:
    if size > 8:
        low: int = _WORD(data, 0)[0] ^ _key(24) ^ _key(32)
        high: int = _WORD(data, size - 8)[0] ^ _key(40) ^ _key(48)
        turned = int.from_bytes(low.to_bytes(8, "little"), "big")
        return _avalanche((size + turned + high + _folded(low, high)) & _MASK)
    if size >= 4:
        first, last = _HALF(data, 0)[0], _HALF(data, size - 4)[0]
        value: int = (last + (first << 32)) ^ _key(8) ^ _key(16)
        value ^= _turned(value, 49) ^ _turned(value, 24)
        value = (value * _MIX_2) & _MASK
        value ^= (value >> 35) + size
        value = (value * _MIX_2) & _MASK
        return value ^ (value >> 28)
    if size:
        combined = data[0] << 16 | data[size >> 1] << 24 | data[-1] | size << 8
        return _old_avalanche(combined ^ _HALF(_SECRET, 0)[0] ^ _HALF(_SECRET, 4)[0])
    return _old_avalanche(_key(56) ^ _key(64))


def _up_to_128(data: bytes, size: int) -> int:
    value = size * _P64[0]
    for step in range((size - 1) // 32, -1, -1):
        value += _mixed(data, 16 * step, 32 * step)
        value += _mixed(data, size - 16 * (step + 1), 32 * step + 16)
    return _avalanche(value & _MASK)


def _up_to_240(data: bytes, size: int) -> int:
    value = size * _P64[0]
    for step in range(8):
        value += _mixed(data, 16 * step, 16 * step)
    value = _avalanche(value & _MASK)
    for step in range(8, size // 16):
        value += _mixed(data, 16 * step, 16 * (step - 8) + 3)
    value += _mixed(data, size - 16, 119)
    return _avalanche(value & _MASK)


def _longer(data: bytes, size: int) -> int:
    lanes = [_P32[2], *_P64[:4], _P32[1], _P64[4], _P32[0]]
    whole = (size - 1) // _STRIPE
    for stripe in range(whole):
        within = stripe % _STRIPES_IN_BLOCK
        _accumulate(lanes, data, _STRIPE * stripe, 8 * within)
        if within == _STRIPES_IN_BLOCK - 1:
            _scramble(lanes)
    _accumulate(lanes, data, size - _STRIPE, len(_SECRET) - _STRIPE - 7)
    value = size * _P64[0]
    for at in range(0, 8, 2):
        low, high = _PAIR(_SECRET, 11 + 8 * at)
        value += _folded(lanes[at] ^ low, lanes[at + 1] ^ high)
    return _avalanche(value & _MASK)


def _accumulate(lanes: list[int], data: bytes, at: int, secret_at: int) -> None:
    """Take in one stripe of 64 bytes."""
    keys = _LANES(_SECRET, secret_at)
    for lane, word in enumerate(_LANES(data, at)):
        keyed = word ^ keys[lane]
        lanes[lane ^ 1] += word
        lanes[lane] += (keyed & 0xFFFFFFFF) * (keyed >> 32)
    for lane in range(8):
        lanes[lane] &= _MASK


def _scramble(lanes: list[int]) -> None:
    """A block is over."""
    for lane, key in enumerate(_LANES(_SECRET, len(_SECRET) - _STRIPE)):
        value = lanes[lane]
        lanes[lane] = ((value ^ (value >> 47) ^ key) * _P32[0]) & _MASK


def _mixed(data: bytes, at: int, secret_at: int) -> int:
    low, high = _PAIR(data, at)
    low_key, high_key = _PAIR(_SECRET, secret_at)
    return _folded(low ^ low_key, high ^ high_key)


def _folded(left: int, right: int) -> int:
    """Both halves of the 128-bit product, one over the other."""
    product = left * right
    return (product & _MASK) ^ (product >> 64)


def _turned(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & _MASK


def _avalanche(value: int) -> int:
    value ^= value >> 37
    value = (value * _MIX_1) & _MASK
    return value ^ (value >> 32)


def _old_avalanche(value: int) -> int:
    value ^= value >> 33
    value = (value * _P64[1]) & _MASK
    value ^= value >> 29
    value = (value * _P64[2]) & _MASK
    return value ^ (value >> 32)
