// Loaded into the suite's own server: it keeps idle connections for longer than the suite waits between two requests. By default
// node closes one after five seconds, and a PUT of the suite that goes out on it in that very moment is lost: what has a body is not
// sent again, by no proxy (RFC 9110 9.2.2). Not for ever: one test's body ends with its connection.
const http = require('node:http')
const listen = http.Server.prototype.listen
http.Server.prototype.listen = function (...args) {
  this.keepAliveTimeout = 20 * 1000
  return listen.apply(this, args)
}
