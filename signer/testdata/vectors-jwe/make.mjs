// Makes the vectors verify-*.txt beside it, with Node's own crypto and no library
// of JOSE: node make.mjs
import { createCipheriv, createHmac } from 'node:crypto'
import { writeFileSync } from 'node:fs'

const bytes = (n, from) => Buffer.from(Array.from({ length: n }, (_, i) => (from + i) & 255))
const b64 = (b) => Buffer.from(b).toString('base64url')
const key = bytes(32, 0)
const other = bytes(32, 100)
const cek = bytes(32, 200)
const iv = bytes(12, 50)
const answer = '{"success":"1","message":"Transaction Successful","ourrequestid":"20211028pm231537111806","yourrequestid":"1001","rrn":"130117123456","amount":"1.50"}'

function gcm(key, iv, aad, plain) {
  const c = createCipheriv(`aes-${key.length * 8}-gcm`, key, iv)
  c.setAAD(Buffer.from(aad))
  const text = Buffer.concat([c.update(plain), c.final()])
  return { text, tag: c.getAuthTag() }
}

// RFC 7518, section 5.2.2.1
function cbc(key, iv, aad, plain) {
  const half = key.length / 2
  const c = createCipheriv(`aes-${half * 8}-cbc`, key.subarray(half), iv)
  const text = Buffer.concat([c.update(plain), c.final()])
  const al = Buffer.alloc(8)
  al.writeBigUInt64BE(BigInt(aad.length * 8))
  const mac = createHmac(half === 16 ? 'sha256' : 'sha512', key.subarray(0, half)).update(aad).update(iv).update(text).update(al).digest()
  return { text, tag: mac.subarray(0, half) }
}

// parts of a compact JWE, to be joined. header is an object, or the text itself.
function seal({ header, k = key, plain = answer, content = gcm, nonce = iv, contentKey } = {}) {
  header ??= { alg: 'dir', enc: 'A256GCM', kid: '2000', cty: 'application/json' }
  let encrypted = Buffer.alloc(0)
  if (header.alg === 'A256GCMKW') {
    const wrapped = gcm(k, bytes(12, 70), '', cek)
    encrypted = wrapped.text
    header = { ...header, iv: b64(bytes(12, 70)), tag: b64(wrapped.tag) }
    contentKey ??= cek
  }
  const protect = b64(Buffer.isBuffer(header) || typeof header === 'string' ? header : JSON.stringify(header))
  const { text, tag } = content(contentKey ?? k, nonce, protect, Buffer.from(plain))
  return [protect, b64(encrypted), b64(nonce), b64(text), b64(tag)]
}

const change = (part) => {
  const b = Buffer.from(part, 'base64url')
  b[0] ^= 1
  return b64(b)
}
const changed = (n, options) => { const p = seal(options); p[n] = change(p[n]); return p }
const dir = (more, without) => {
  const h = { alg: 'dir', enc: 'A256GCM', kid: '2000', cty: 'application/json', ...more }
  if (without) delete h[without]
  return h
}
const wrap = (more) => ({ alg: 'A256GCMKW', enc: 'A256GCM', kid: '2000', cty: 'application/json', ...more })
const known = `2000 ${key.toString('base64')}`

function vector(name, comment, body, expect, more = {}) {
  const v = { accept: 'dir', encoding: 'base64', known: [known], headers: ['Content-Type: application/jose'], plain: answer, ...more }
  const lines = [`# ${comment}`, ...(v.algorithm ? [`algorithm: ${v.algorithm}`] : []), `accept: ${v.accept}`, `encoding: ${v.encoding}`, ...v.known.map((k) => `known: ${k}`), ...v.headers.map((h) => `header: ${h}`), `expect: ${expect}`, '', '-- body --', Array.isArray(body) ? body.join('.') : body]
  if (expect === 'verified') lines.push('-- plain --', v.plain)
  writeFileSync(new URL(`verify-${name}.txt`, import.meta.url), lines.join('\n') + '\n')
}

const ok = 'verified'
const both = { accept: 'dir A256GCMKW' }
const notBase64 = 'a part of it is not base64'
const notCompact = 'it is not a compact JWE'
const length = 'a part of it has a wrong length'
const unknown = 'its header has a member that is not known'
const unfit = 'the members of its header do not fit its alg'
const unreadable = 'its header cannot be read'
const wrongKey = 'it was not encrypted with the key of the account, or was changed'
const notEncrypted = 'it is not encrypted: its Content-Type is not application/jose'
const enc = 'the enc of its header is not accepted'
const alg = 'its alg is not accepted'
const keySize = 'the key is not one for this scheme: it must be 32 bytes, written in base64 (43 or 44 characters)'

vector('dir', 'The key itself encrypts.', seal(), ok)
vector('wrapped', 'A key of its own encrypts, and is encrypted with the account\'s.', seal({ header: wrap() }), ok, both)
vector('without-kid', 'The kid may be left out.', seal({ header: dir({}, 'kid') }), ok)
vector('without-cty', 'The cty may be left out.', seal({ header: dir({}, 'cty') }), ok)
vector('cty-short', 'The cty may go without application/.', seal({ header: dir({ cty: 'JSON', typ: 'JOSE' }) }), ok)
vector('header-as-written', 'Members in another order, escapes and spaces: what was sent is what is authenticated.', seal({ header: ' {"enc" : "A256GCM",\n "kid":"\\u0032000", "alg":"dir" } ' }), ok)
vector('second-key', 'The key before a rotation is known for a while.', seal({ k: other }), ok, { known: [known, `2000 ${other.toString('base64')}`] })
vector('second-username', 'Each known credential has a username of its own.', seal({ header: dir({ kid: '1999' }), k: other }), ok, { known: [known, `1999 ${other.toString('base64url')}`] })
vector('after-unfit-key', 'A credential whose key is not 32 bytes is passed over.', seal(), ok, { known: ['2000 0123456789abcdef0123456789', known] })
vector('key-hex', 'The key is written in hex.', seal(), ok, { encoding: 'hex', known: [`2000 ${key.toString('hex').toUpperCase()}`] })
vector('key-text', 'The key is the text.', seal({ k: Buffer.from('0123456789abcdef0123456789abcdef') }), ok, { encoding: 'text', known: ['2000 0123456789abcdef0123456789abcdef'] })
vector('empty', 'Nothing is encrypted, which is nobody\'s answer, but the provider\'s.', seal({ plain: '' }), ok, { plain: '' })
vector('media-type-in-capitals', 'Media types are the same in any letter case.', seal(), ok, { headers: ['Content-Type: Application/JOSE'] })

vector('plain', 'An answer in plain JSON.', answer, notEncrypted, { headers: ['Content-Type: application/json'] })
vector('plain-as-jose', 'Plain JSON that claims to be a JWE.', answer, notCompact)
vector('media-type-missing', 'No Content-Type.', seal(), notEncrypted, { headers: [] })
vector('media-type-twice', 'Content-Type twice.', seal(), notEncrypted, { headers: ['Content-Type: application/jose', 'Content-Type: application/jose'] })
vector('media-type-list', 'Two types in one header.', seal(), notEncrypted, { headers: ['Content-Type: application/jose, application/jose'] })
vector('media-type-parameter', 'Content-Type has parameters.', seal(), notEncrypted, { headers: ['Content-Type: application/jose; charset=utf-8'] })
vector('media-type-json', 'A JWE that claims to be JSON.', seal(), notEncrypted, { headers: ['Content-Type: application/json'] })
{
  const [p, k, n, c, t] = seal()
  vector('json-serialization', 'The other serialization.', JSON.stringify({ protected: p, encrypted_key: k, iv: n, ciphertext: c, tag: t }), notCompact)
  vector('four-parts', 'A part is missing.', [p, k, n, c], notCompact)
  vector('six-parts', 'A part too many.', [p, k, n, c, t, ''], notCompact)
  vector('nothing', 'Nothing at all.', '', notCompact)
  vector('dots', 'Empty parts.', '....', unreadable)
  vector('line-end', 'A line end inside, which many a decoder overlooks.', [p, k, n, c.slice(0, 8) + '\n' + c.slice(8), t], notBase64)
  vector('space', 'A space in front.', [' ' + p, k, n, c, t], notBase64)
  vector('padded', 'Padding.', [p, k, n, c, t + '=='], notBase64)
  vector('standard-alphabet', 'The alphabet of plain base64.', [p, k, n, '+' + c.slice(1), t], notBase64)
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.indexOf(t.at(-1))
  vector('unused-bits', 'Bits at the end that mean nothing.', [p, k, n, c, t.slice(0, -1) + 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'[last | 1]], notBase64)
  const whole = Buffer.concat([Buffer.from(c, 'base64url'), Buffer.from(t, 'base64url')])
  vector('tag-too-long', 'A byte of the ciphertext stands in the tag.', [p, k, n, b64(whole.subarray(0, -17)), b64(whole.subarray(-17))], length)
  vector('tag-too-short', 'A tag of 12 bytes.', [p, k, n, c, b64(whole.subarray(-16, -4))], length)
  vector('tag-missing', 'No tag.', [p, k, n, c, ''], length)
  vector('truncated', 'The end of the ciphertext is missing.', [p, k, n, c.slice(0, -4), t], wrongKey)
  vector('dir-with-encrypted-key', 'Direct encryption has no encrypted key (RFC 7516, section 5.2, step 10).', [p, b64(cek), n, c, t], length)
  vector('header-of-another', 'The header of another JWE.', [seal({ header: dir({}, 'kid') })[0], k, n, c, t], wrongKey)
}
vector('nonce-of-16', 'A nonce of 16 bytes, which GCM could use.', seal({ nonce: bytes(16, 50) }), length)
vector('changed-nonce', 'A bit of the nonce is another.', changed(2), wrongKey)
vector('changed-ciphertext', 'A bit of the ciphertext is another.', changed(3), wrongKey)
vector('changed-tag', 'A bit of the tag is another.', changed(4), wrongKey)
vector('wrapped-changed-key', 'A bit of the encrypted key is another.', changed(1, { header: wrap() }), wrongKey, both)
{
  const p = seal({ header: wrap() })
  const h = JSON.parse(Buffer.from(p[0], 'base64url'))
  const with_ = (more) => [b64(JSON.stringify({ ...h, ...more })), ...p.slice(1)]
  vector('wrapped-changed-key-nonce', 'A bit of the key\'s nonce is another.', with_({ iv: change(h.iv) }), wrongKey, both)
  vector('wrapped-changed-key-tag', 'A bit of the key\'s tag is another.', with_({ tag: change(h.tag) }), wrongKey, both)
  vector('wrapped-without-tag', 'The key has no tag.', with_({ tag: undefined }), unfit, both)
  vector('wrapped-without-nonce', 'The key has no nonce.', with_({ iv: undefined }), unfit, both)
  vector('wrapped-short-tag', 'The key has a short tag.', with_({ tag: h.tag.slice(0, 16) }), unfit, both)
  vector('wrapped-tag-no-base64', 'The key\'s tag is not base64.', with_({ tag: '!' }), 'the tag of its header is not accepted', both)
  vector('wrapped-long-nonce', 'The key has a nonce of 16 bytes.', with_({ iv: b64(bytes(16, 70)) }), unfit, both)
  vector('wrapped-as-dir', 'The alg of a wrapped key is made dir.', with_({ alg: 'dir' }), unfit, both)
  vector('wrapped-without-key', 'The encrypted key is missing.', [p[0], '', ...p.slice(2)], length, both)
  vector('wrapped-not-accepted', 'A wrapped key where only dir is accepted.', p, alg)
}
vector('dir-not-accepted', 'Dir where only a wrapped key is accepted.', seal(), alg, { accept: 'A256GCMKW' })
vector('another-key', 'Encrypted with another key.', seal({ k: other }), wrongKey)
vector('unfit-key', 'The account\'s key is not 32 bytes.', seal(), keySize, { known: ['2000 0123456789abcdef0123456789'] })
vector('no-credential', 'No credential is known.', seal(), 'there is no credential to decrypt it with', { known: [] })

vector('dir-with-key-nonce', 'Direct encryption has no key to be encrypted.', seal({ header: dir({ iv: b64(bytes(12, 70)) }) }), unfit, both)
vector('dir-with-key-nonce-and-tag', 'Direct encryption has no key to be encrypted.', seal({ header: dir({ iv: b64(bytes(12, 70)), tag: b64(bytes(16, 70)) }) }), unfit, both)
vector('default', 'By default answers are encrypted as requests: by dir.', seal(), ok, { accept: '' })
vector('default-wrapped-not-accepted', 'And by nothing else.', seal({ header: wrap() }), alg, { accept: '' })
vector('default-wrapped', 'Requests have a wrapped key, so answers must.', seal({ header: wrap() }), ok, { accept: '', algorithm: 'A256GCMKW' })
vector('default-dir-not-accepted', 'And nothing else.', seal(), alg, { accept: '', algorithm: 'A256GCMKW' })

vector('zip', 'Compressed: a small answer could become a large one.', seal({ header: dir({ zip: 'DEF' }) }), 'it is compressed')
vector('zip-empty', 'An empty zip.', seal({ header: dir({ zip: '' }) }), 'it is compressed')
vector('crit', 'Something that must be understood.', seal({ header: dir({ crit: ['exp'], exp: '1' }) }), unknown)
vector('jwk', 'A key in the header.', seal({ header: dir({ jwk: { kty: 'oct', k: b64(other) } }), k: other }), unknown)
vector('unknown-member', 'A member that nobody knows.', seal({ header: dir({ 'x-extra': '1' }) }), unknown)
vector('member-in-capitals', 'Names are told apart by letter case.', seal({ header: '{"ALG":"dir","enc":"A256GCM"}' }), unknown)
vector('alg-none', 'No algorithm.', seal({ header: dir({ alg: 'none' }) }), alg)
vector('alg-in-capitals', 'Algorithms are told apart by letter case.', seal({ header: dir({ alg: 'DIR' }) }), alg)
vector('alg-missing', 'No alg.', seal({ header: dir({}, 'alg') }), alg)
vector('alg-number', 'An alg that is no string.', seal({ header: dir({ alg: 1 }) }), unknown)
vector('alg-twice', 'Two alg: who reads the other one?', seal({ header: '{"alg":"dir","alg":"A256GCMKW","enc":"A256GCM"}' }), unreadable)
vector('alg-a256kw', 'Another way to wrap.', seal({ header: dir({ alg: 'A256KW' }) }), alg)
vector('alg-rsa-oaep', 'RSA-OAEP.', seal({ header: dir({ alg: 'RSA-OAEP' }) }), alg)
vector('alg-pbes2', 'A password, with an iteration count that takes minutes.', seal({ header: dir({ alg: 'PBES2-HS256+A128KW', p2s: 'AAAA', p2c: 999999 }) }), unknown)
vector('enc-missing', 'No enc.', seal({ header: dir({}, 'enc') }), unfit)
vector('enc-a128gcm', 'A128GCM, with the first half of the key.', seal({ header: dir({ enc: 'A128GCM' }), contentKey: key.subarray(0, 16) }), enc)
vector('enc-a256cbc-hs512', 'A256CBC-HS512, with the key twice.', seal({ header: dir({ enc: 'A256CBC-HS512' }), content: cbc, nonce: bytes(16, 1), contentKey: Buffer.concat([key, key]) }), enc)
vector('enc-a128cbc-hs256', 'A128CBC-HS256, which takes a key of 32 bytes too.', seal({ header: dir({ enc: 'A128CBC-HS256' }), content: cbc, nonce: bytes(16, 1) }), enc)
vector('kid-of-another', 'The kid of another account, with the right key.', seal({ header: dir({ kid: '2001' }) }), 'its kid is not the username of the account')
vector('kid-null', 'A kid that is no string.', seal({ header: dir({ kid: null }) }), unknown)
vector('cty-text', 'Not JSON.', seal({ header: dir({ cty: 'text/html' }) }), 'the cty of its header is not accepted')
vector('cty-form', 'A form, as we send them.', seal({ header: dir({ cty: 'application/x-www-form-urlencoded' }), plain: 'username=2000&success=1' }), 'the cty of its header is not accepted')
vector('typ', 'Another typ.', seal({ header: dir({ typ: 'JWT' }) }), 'the typ of its header is not accepted')
vector('header-no-object', 'A header that is no object.', seal({ header: '["dir","A256GCM"]' }), unreadable)
vector('header-not-utf-8', 'A header that is not UTF-8.', seal({ header: Buffer.from('{"alg":"dir","enc":"A256GCM","kid":"\xff"}', 'latin1') }), unreadable)
vector('header-too-long', 'A header of more than 4 KiB.', seal({ header: `{"alg":"dir",${' '.repeat(4096)}"enc":"A256GCM"}` }), unreadable)
vector('reflected', 'One of our own requests comes back, with members that a merchant chose.', seal({ plain: '{"username":"2000","success":"1","ourrequestid":"1","yourrequestid":"1001","rrn":"1"}' }), 'it is a request of ours')
vector('reflected-with-spaces', 'The same, as a merchant may have written it.', seal({ plain: ' \r\n{"username":"2000", "success":"1"}' }), 'it is a request of ours')
