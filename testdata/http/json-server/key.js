// The API takes requests with its key alone, as real ones do.
module.exports = (req, res, next) =>
  req.get('X-Api-Key') === process.env.API_KEY ? next() : res.status(401).json({ error: 'wrong or no X-Api-Key' })
