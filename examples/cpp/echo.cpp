// curl -X POST 'http://127.0.0.1:8080/deploy?name=echo-cpp&lang=cpp' --data-binary @examples/cpp/echo.cpp
#include <iostream>
#include <iterator>
#include <string>

int main() {
    std::string payload(std::istreambuf_iterator<char>(std::cin), {});
    std::cout.write(payload.data(), static_cast<std::streamsize>(payload.size()));
}
