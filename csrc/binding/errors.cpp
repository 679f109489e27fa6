#include "binding/errors.h"

#include <exception>
#include <new>

namespace fa::binding {

Napi::Error to_javascript(Napi::Env env, const fa::Error& error) {
  Napi::Error result = Napi::Error::New(env, error.what());
  result.Set("code", Napi::String::New(env, error_code_name(error.code())));
  if (!error.argument().empty()) {
    result.Set("argument", Napi::String::New(env, error.argument()));
  }
  return result;
}

Napi::Error current_exception_to_javascript(Napi::Env env) {
  try {
    throw;
  } catch (const Napi::Error& error) {
    return error;
  } catch (const fa::Error& error) {
    return to_javascript(env, error);
  } catch (const std::bad_alloc&) {
    return to_javascript(env, {ErrorCode::kOutOfMemory, "", "The system has no memory left"});
  } catch (const std::exception& error) {
    return to_javascript(env, {ErrorCode::kInternal, "", error.what()});
  } catch (...) {
    return to_javascript(env, {ErrorCode::kInternal, "", "An unknown exception"});
  }
}

}  // namespace fa::binding
