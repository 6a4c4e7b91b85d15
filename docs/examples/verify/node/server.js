// Takes notifications of the gateway, and none that is not genuine:
//
//   npm ci
//   WEBHOOK_SECRET=whsec_… PORT=8080 node server.js
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const maxBody = 1 << 20;
const secret = process.env.WEBHOOK_SECRET ?? "";
if (!/^whsec_[A-Za-z0-9+/=]{32,}$/.test(secret)) { // 24 bytes in base64
  console.error("WEBHOOK_SECRET: no secret");
  process.exit(1);
}
const webhook = new Webhook(secret);

async function receive(request, response) {
  if (request.method !== "POST") {
    return response.writeHead(405).end();
  }
  // The bytes as they came: the signature is over these, not over what they mean.
  // Frameworks that parse JSON by themselves have to be told to keep them.
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > maxBody) {
      return response.writeHead(413, { connection: "close" }).end();
    }
    chunks.push(chunk);
  }
  let notification;
  try {
    // The library compares in constant time, allows five minutes, and takes each
    // of several signatures. It returns the body, parsed.
    notification = webhook.verify(Buffer.concat(chunks), request.headers);
  } catch {
    return response.writeHead(401).end();
  }
  // It is genuine. Store it under its webhook-id, which is unique, and answer;
  // work on it after that. One that is there already is a repeat: 204 as well.
  console.log(request.headers["webhook-id"], notification.type, JSON.stringify(notification.data.request_id));
  response.writeHead(204).end();
}

createServer((request, response) => {
  receive(request, response).catch(() => response.destroy());
}).listen(Number(process.env.PORT), "127.0.0.1");
