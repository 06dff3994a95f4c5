// curl -X POST 'http://127.0.0.1:8080/deploy?name=script-js&lang=js' --data-binary @examples/js/hello_script.js
const name = require('fs').readFileSync(0, 'utf8').trim() || 'JavaScript';
console.log(`Hello from ${name}!`);
