// Runs what it is told, one JSON line at a time, each on a connection of its
// own: {port, password, database, mode, statements}. It answers with a line
// for each. What a statement gave is not told: whoever asks reads that off the
// wire.
import { createInterface } from 'node:readline'
import pg from 'pg'

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line)
  const client = new pg.Client({
    host: '127.0.0.1', port: job.port, user: 'agent', password: job.password, database: job.database,
    connectionTimeoutMillis: 30000, query_timeout: 30000
  })
  client.on('error', () => {})
  let failed = ''
  try {
    await client.connect()
    for (const { text, values } of job.statements) {
      try {
        await client.query(job.mode === 'simple' ? text : { text, values, queryMode: 'extended' })
      } catch (error) {
        failed ||= String(error.message)
      }
    }
  } catch (error) {
    failed = String(error.message)
  }
  await client.end().catch(() => {})
  console.log(JSON.stringify({ failed }))
}
