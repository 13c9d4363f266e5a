// Adds an agent's token to what the suite sends: it knows no tokens itself.
// node token.mjs LISTEN-PORT GATEWAY-PORT PATH TOKEN
import http from 'node:http'

const [listen, port, path, token] = process.argv.slice(2)
http.createServer((req, res) => {
  const headers = { ...req.headers, authorization: 'Bearer ' + token }
  const out = http.request({ host: '127.0.0.1', port, method: req.method, path, headers }, (answer) => {
    res.writeHead(answer.statusCode, answer.headers)
    res.flushHeaders()
    answer.pipe(res)
  })
  out.on('error', () => res.destroy())
  res.on('close', () => out.destroy())
  req.pipe(out)
}).listen(Number(listen), '127.0.0.1')
