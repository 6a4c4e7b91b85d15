// Encrypts and decrypts as a provider would, with the package jose. A task for each
// line of the input, a result for each line of the output.
import { createInterface } from 'node:readline'
import { CompactEncrypt, compactDecrypt } from 'jose'

async function perform({ key, seal, header, open, algorithm }) {
  key = Buffer.from(key, 'base64')
  if (seal !== undefined) {
    return { jwe: await new CompactEncrypt(Buffer.from(seal)).setProtectedHeader(header).encrypt(key) }
  }
  const { plaintext, protectedHeader } = await compactDecrypt(open, key, {
    keyManagementAlgorithms: [algorithm],
    contentEncryptionAlgorithms: ['A256GCM'],
  })
  return { plain: Buffer.from(plaintext).toString(), header: protectedHeader }
}

for await (const line of createInterface({ input: process.stdin })) {
  const result = await perform(JSON.parse(line)).catch((e) => ({ error: String(e) }))
  console.log(JSON.stringify(result))
}
