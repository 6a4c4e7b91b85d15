// Signs and verifies messages with http-message-signatures, as Go asks: a list of
// cases on standard input, a list of answers on standard output.
import { constants, sign } from "node:crypto";
import { createSigner, createVerifier, httpbis } from "http-message-signatures";

const date = (seconds) => new Date(seconds * 1000);

const material = (key) => (key.pem ?? Buffer.from(key.base64, "base64"));

// The package makes signatures of rsa-pss-sha512 with the longest salt there can be;
// RFC 9421 section 3.3.1 wants 64 bytes.
function signer(c) {
  const made = createSigner(material(c.key), c.algorithm, c.keyID);
  if (c.algorithm === "rsa-pss-sha512" && !c.longSalt) {
    made.sign = async (data) =>
      sign("sha512", data, {
        key: c.key.pem,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: 64,
      });
  }
  return made;
}

async function signCase(c) {
  const config = {
    key: signer(c),
    name: "sig1",
    fields: c.components,
    params: ["created", "expires", "nonce", "keyid", "alg", "tag"],
    paramValues: {
      created: date(c.created),
      expires: date(c.expires),
      nonce: c.nonce,
      tag: c.tag,
    },
  };
  const { headers } = await httpbis.signMessage(config, c.message, c.request);
  return { input: headers["Signature-Input"], signature: headers.Signature };
}

async function verifyCase(c) {
  const verify = createVerifier(material(c.key), c.algorithm);
  const config = {
    keyLookup: async ({ keyid }) =>
      keyid === c.keyID ? { id: c.keyID, algs: [c.algorithm], verify } : null,
    requiredFields: c.components.map((name) => name.split(";")[0]),
  };
  return { verified: (await httpbis.verifyMessage(config, c.message, c.request)) === true };
}

let text = "";
for await (const chunk of process.stdin) text += chunk;
const answers = [];
for (const c of JSON.parse(text)) {
  try {
    answers.push(await (c.verify ? verifyCase(c) : signCase(c)));
  } catch (err) {
    answers.push({ error: err.message });
  }
}
console.log(JSON.stringify(answers));
