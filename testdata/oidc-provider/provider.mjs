// A certified OpenID Connect provider (npm oidc-provider) for regate's tests:
// client credentials with a resource indicator give RFC 9068 access tokens
// (at+jwt); people log in with code and PKCE. It prints one line of JSON with
// its issuer when it is ready, and ends when its standard input does.
//
//   POST /test/rotate             a new signing key in front of the old ones
//   POST /test/rotate?withdraw=1  the old ones are no longer published
import { createServer } from 'node:http'
import { once } from 'node:events'
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import Provider from 'oidc-provider'

const alg = process.env.ALG ?? 'RS256'

function newKey() {
  const { privateKey } = alg === 'ES256'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 })
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg }
}

let keys = [newKey()]
let issuer, handle

function build() {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [
      { client_id: 'agent', client_secret: 'agent-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [], id_token_signed_response_alg: alg },
      { client_id: 'post-agent', client_secret: 'agent-secret', token_endpoint_auth_method: 'client_secret_post', grant_types: ['client_credentials'], redirect_uris: [], response_types: [], id_token_signed_response_alg: alg },
      { client_id: 'regate-cli', application_type: 'native', token_endpoint_auth_method: 'none', grant_types: ['authorization_code'], response_types: ['code'], redirect_uris: ['http://127.0.0.1/callback'], id_token_signed_response_alg: alg },
    ],
    claims: { openid: ['sub', 'groups'] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, groups: ['dba'] }) }),
    extraTokenClaims: (_, token) => ({ groups: token.kind === 'ClientCredentials' ? ['analysts'] : ['dba'] }),
    cookies: { keys: [randomUUID()] },
    ttl: { AccessToken: 300, ClientCredentials: 300, IdToken: 300, Grant: 300, Interaction: 300, Session: 300 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      introspection: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'https://regate.example',
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => ({
          audience: resource, scope: 'db:read db:write', accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg } },
        }),
      },
    },
  })
  handle = provider.callback()
}

const server = createServer((req, res) => {
  const url = new URL(req.url, issuer)
  if (req.method === 'POST' && url.pathname === '/test/rotate') {
    keys = url.searchParams.has('withdraw') ? [newKey()] : [newKey(), ...keys]
    build()
    res.end('rotated\n')
    return
  }
  handle(req, res)
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
issuer = `http://127.0.0.1:${server.address().port}`
build()
console.log(JSON.stringify({ issuer }))
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
