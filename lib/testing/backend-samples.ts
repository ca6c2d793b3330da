/** Texts that engines, escapers and encoders have been seen to change. */
export const texts: readonly string[] = [
  '', 'a', '0', 'null', 'undefined', 'true', '1e3', '{}', '[]', '""', ' ', ' padded \r\n\t', '\uffff',
  '\u0000', 'a\u0000b', '\u0001\u007f\u0080\u00ff', '\ufeffbom', '\\', '\\x41', '\\u0041',
  'base64:AAAA', 'AAAA',
  "'; DROP TABLE sessions; --", '%s $1 ? :name {{x}} #{x}',
  'Zażółć gęślą jaźń', '👩‍👩‍👧‍👦 \u202e\u200b e\u0301 é',
  JSON.stringify({ zero: 0, empty: '', none: null, no: false, list: [1, [2, { three: '3' }]], deep: {} })
]

export const bytes: readonly Uint8Array[] = [
  Uint8Array.of(), Uint8Array.of(0), Uint8Array.of(0x41), Uint8Array.of(0xff, 0xfe, 0xc3, 0x28, 0x00, 0x80),
  Uint8Array.from({ length: 256 }, (_, i) => i)
]

/** Any string may name a principal: each of these is one of its own. */
export const principals: readonly string[] = [
  'ada', 'ADA', 'a', 'a:b', 'a:', ':', '*', 'ad*', 'a?a', '[a-z]', 'a%', 'a_a', '_', '%', '.*', '^a|d$',
  '\\', 'null', "'", '"', '`', "' OR '1'='1", '"; --', '$ne', '{"$gt":""}', '../..', '/', 'a/b', '#', 'a b',
  ' ', 'a ', 'a\n', '0', 'a\u0000b', '__proto__', 'constructor', 'ąćę', 'é', 'e\u0301', 'e', '日本語', '👩‍👩‍👧‍👦',
  'x'.repeat(500), 'x'.repeat(499) + 'y', '日'.repeat(500)
]
