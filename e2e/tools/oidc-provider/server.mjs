// The identity provider of the end-to-end tests: the certified library `oidc-provider` with its own
// sign-in and consent forms. This file only configures it, and checks passwords, which the library's
// development forms would accept unseen.
//
// Usage: node server.mjs CONFIG.json
// CONFIG: {"port": 0, "clients": [{"id", "secret", "redirectUris": [..]}],
//          "users": [{"name", "password", "email", "groups": [..]}]}
// Prints one line `{"issuer": "http://127.0.0.1:<port>"}` when it accepts connections.

import { createHash, generateKeyPairSync, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parse } from 'node:querystring';

import { Provider } from 'oidc-provider';

const MAX_FORM_BYTES = 16 * 1024;

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const users = new Map(config.users.map((user) => [user.name, user]));

const digest = (text) => createHash('sha256').update(text ?? '').digest();
const passwordMatches = (user, password) => timingSafeEqual(digest(user?.password), digest(password)) && user !== undefined;

async function readForm(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_FORM_BYTES) throw new Error('form too large');
    chunks.push(chunk);
  }
  return parse(Buffer.concat(chunks).toString('utf8'));
}

function findAccount(_ctx, name) {
  const user = users.get(name);
  if (user === undefined) return undefined;
  return {
    accountId: name,
    claims: () => ({ sub: name, email: user.email, name, groups: user.groups }),
  };
}

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const signingKey = { ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: randomBytes(8).toString('hex') };

// The port is part of the issuer, so the listener comes first.
const server = createServer();
await new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(config.port, '127.0.0.1', resolve);
});
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: config.clients.map((client) => ({
    client_id: client.id,
    client_secret: client.secret,
    redirect_uris: client.redirectUris,
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'client_secret_basic',
  })),
  claims: { openid: ['sub'], email: ['email'], profile: ['name'], groups: ['groups'] },
  // Relying parties read groups from the ID token.
  conformIdTokenClaims: false,
  cookies: { keys: [randomBytes(32).toString('hex')] },
  features: { devInteractions: { enabled: true } },
  findAccount,
  jwks: { keys: [signingKey] },
  pkce: { required: () => true },
  scopes: ['openid', 'offline_access'],
  ttl: { AccessToken: 600, Grant: 3600, IdToken: 600, Interaction: 600, Session: 3600 },
});

provider.use(async (ctx, next) => {
  if (ctx.method === 'POST' && ctx.path.startsWith('/interaction/')) {
    const form = await readForm(ctx.req);
    if (form.prompt === 'login' && !passwordMatches(users.get(form.login), form.password)) {
      ctx.status = 401;
      ctx.type = 'text';
      ctx.body = 'wrong user name or password\n';
      return;
    }
    // The library takes a body that was read before it from here.
    ctx.req.body = form;
  }
  await next();
});

for (const event of ['server_error', 'authorization.error', 'grant.error', 'discovery.error', 'jwks.error']) {
  provider.on(event, (_ctx, error) => console.error(`${event}: ${error.message} ${error.error_description ?? ''}`));
}

server.on('request', provider.callback());
console.log(JSON.stringify({ issuer }));
