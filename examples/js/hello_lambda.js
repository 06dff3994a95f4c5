// curl -X POST 'http://127.0.0.1:8080/deploy?name=lambda-js&lang=js' --data-binary @examples/js/hello_lambda.js
exports.handler = async (event, context) => {
  return { message: `Hello from ${event?.name ?? 'Lambda'}!` };
};
